"""A summarizer that works offline: it chooses sentences of the conversation and quotes them as they were said.

Each next sentence is chosen for what it adds to those chosen before: words of the window that none of them has, where
names and numbers weigh more than other words, and words that are often said more than others; on top of that a question
or a commitment that is not there yet. What it adds is weighed against its length, so that a reader gets most of what
was asked and named in a few lines. Words of the previous summary weigh half. Nothing is worded anew: the text names
its turns.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from afterwrite.summaries.languages import terms
from afterwrite.summaries.port import Summary, Turn

QUOTES_MAX: Final = 8
QUOTED_CHARACTERS: Final = 280
"""No further quote is begun when there are this many characters of quotes."""
OPEN_QUESTIONS_MAX: Final = 3
QUOTE_CHARACTERS_MAX: Final = 200
TURN_CHARACTERS_MAX: Final = 4_000
"""How much of a turn is read; a longer one is cut, and the summary says so."""

# Found by bench/run.py summaries, on other conversations than those whose figures it gives.
_WORD_WEIGHT: Final = 0.3
_NAME_WEIGHT: Final = 3.0
_QUESTION_WEIGHT: Final = 3.0
_COMMITMENT_WEIGHT: Final = 2.0
_KNOWN_SHARE: Final = 0.5
# A line costs its reader more than its letters; the exponent says how much length counts.
_LINE_CHARACTERS: Final = 15
_LENGTH_EXPONENT: Final = 0.8

# Fullwidth and ideographic marks, the Arabic question mark and the danda end a sentence without a space after.
_SENTENCE_END = re.compile("(?<=[.!?\u2026])\\s+|(?<=[\u3002\uff01\uff1f\u061f\u0964])\\s*|\\s*\\n\\s*")
_QUESTION_MARKS: Final = ("?", "\uff1f", "\u061f")
# A capital that does not begin a sentence, and numbers.
_NAME: Final = re.compile(r"(?<=\S )[A-Z\u00c0-\u00de][\w'\u2019-]*|\d[\d.,:/]*")
_COMMITMENT = re.compile(
    r"\b(?:(?:i|we)(?:'ll| will| promise| can do)|let me|(?:i'm|im|we're|i am|we are)(?: \w+)? (?:going to|gonna))\b"
)


@dataclass(frozen=True, slots=True)
class _Sentence:
    turn: Turn
    text: str
    terms: tuple[str, ...]
    is_question: bool
    is_commitment: bool

    @property
    def shown(self) -> int:
        """How many characters of it a quote has."""
        return min(len(self.text), QUOTE_CHARACTERS_MAX)

    @property
    def bonus(self) -> float:
        """What it is worth beside its words."""
        return _QUESTION_WEIGHT * self.is_question + _COMMITMENT_WEIGHT * self.is_commitment


class ExtractiveSummarizer:
    """Quotes the sentences that say most about a window. Deterministic; needs nothing but the turns."""

    def summarize(self, turns: Sequence[Turn], previous: Summary | None) -> Summary:
        """The summary of `turns`; works for empty turns, any language and any length."""
        sentences = [sentence for turn in turns for sentence in _sentences(turn)]
        chosen = _choose(sentences, previous)
        replies = _replies(sentences)
        lines = [_title(turns)]
        carried: list[Turn] = []
        for question in previous.open_questions if previous else ():
            reply = next((s for s in sentences if not s.is_question and s.turn.role != question.role), None)
            lines.append(f"Asked before: {_quote(question)}{_reply_note(reply)}")
            if reply is None:
                carried.append(question)
        lines.extend(_quote(Turn(s.turn.number, s.turn.role, s.text)) + _kind_note(s) for s in chosen)
        unanswered = [
            Turn(s.turn.number, s.turn.role, s.text)
            for s, reply in zip(sentences, replies, strict=True)
            if s.is_question and reply is None
        ]
        if unanswered:
            numbers = sorted({question.number for question in unanswered})
            lines.append(f"No reply yet to the questions of turn {_listed(numbers)}.")
        if any(len(turn.text) > TURN_CHARACTERS_MAX for turn in turns):
            lines.append(f"Of longer turns the first {TURN_CHARACTERS_MAX} characters were read.")
        return Summary("\n".join(lines), tuple((carried + unanswered)[-OPEN_QUESTIONS_MAX:]))


def _sentences(turn: Turn) -> Iterable[_Sentence]:
    for part in _SENTENCE_END.split(turn.text[:TURN_CHARACTERS_MAX]):
        text = part.strip()
        if text:
            plain = _plain(text)
            yield _Sentence(
                turn,
                text,
                tuple(terms(text)),
                text.endswith(_QUESTION_MARKS),
                _COMMITMENT.search(plain) is not None,
            )


def _plain(text: str) -> str:
    return text.casefold().replace("\u2019", "'")


def _choose(sentences: Sequence[_Sentence], previous: Summary | None) -> list[_Sentence]:
    """The sentences to quote, in the order they were said."""
    weights = _weights(sentences, previous)
    # What each sentence would add; the words of those that are chosen count no more.
    new = [dict.fromkeys(sentence.terms, True) for sentence in sentences]
    gains = [sum(map(weights.__getitem__, words)) for words in new]
    shares = [sentence.bonus / len(words) if words else 0.0 for sentence, words in zip(sentences, new, strict=True)]
    costs = [(sentence.shown + _LINE_CHARACTERS) ** _LENGTH_EXPONENT for sentence in sentences]
    places: dict[str, list[int]] = {}
    for i, words in enumerate(new):
        for term in words:
            places.setdefault(term, []).append(i)
    remaining = [i for i, words in enumerate(new) if words] or list(range(len(sentences)))
    chosen: list[int] = []
    characters = 0
    while remaining and len(chosen) < QUOTES_MAX and characters < QUOTED_CHARACTERS:
        best = max(remaining, key=lambda i: (gains[i] + shares[i] * len(new[i])) / costs[i])
        if chosen and not new[best]:
            break
        chosen.append(best)
        characters += sentences[best].shown
        for term in list(new[best]):
            for i in places[term]:
                gains[i] -= weights[term]
                del new[i][term]
        remaining = [i for i in remaining if new[i]]
    return [sentences[i] for i in sorted(chosen)]


def _weights(sentences: Sequence[_Sentence], previous: Summary | None) -> dict[str, float]:
    """What each word is worth."""
    frequency = Counter(term for sentence in sentences for term in set(sentence.terms))
    named = {term for sentence in sentences for name in _NAME.findall(sentence.text) for term in terms(name)}
    known = frozenset(terms(previous.text)) if previous else frozenset()
    return {
        term: (_WORD_WEIGHT * (1 + math.log(count)) + _NAME_WEIGHT * (term in named))
        * (_KNOWN_SHARE if term in known else 1.0)
        for term, count in frequency.items()
    }


def _replies(sentences: Sequence[_Sentence]) -> list[_Sentence | None]:
    """For each sentence the first statement of somebody else after it."""
    replies: list[_Sentence | None] = []
    next_statement: dict[str, _Sentence] = {}
    for sentence in reversed(sentences):
        others = [s for role, s in next_statement.items() if role != sentence.turn.role]
        replies.append(min(others, key=lambda s: s.turn.number, default=None))
        if not sentence.is_question:
            next_statement[sentence.turn.role] = sentence
    replies.reverse()
    return replies


def _title(turns: Sequence[Turn]) -> str:
    if not turns:
        return "Extractive summary of no turns."
    return f"Extractive summary of turns {turns[0].number} to {turns[-1].number}, in the words of the conversation."


def _quote(turn: Turn) -> str:
    text = turn.text
    if len(text) > QUOTE_CHARACTERS_MAX:
        text = text[: QUOTE_CHARACTERS_MAX - 1].rstrip() + "…"
    return f"Turn {turn.number}, {turn.role}: “{text}”"


def _kind_note(sentence: _Sentence) -> str:
    if sentence.is_commitment:
        return " (a commitment)"
    return " (a question)" if sentence.is_question else ""


def _reply_note(reply: _Sentence | None) -> str:
    if reply is None:
        return " (no reply yet)"
    return " - followed by: " + _quote(Turn(reply.turn.number, reply.turn.role, reply.text))


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join([", ".join(map(str, numbers[:-1])), str(numbers[-1])]) if len(numbers) > 1 else str(numbers[0])
