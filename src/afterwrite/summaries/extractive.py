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
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from afterwrite.summaries.languages import plain, plain_terms, terms
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
_COSTS: Final = [(shown + _LINE_CHARACTERS) ** _LENGTH_EXPONENT for shown in range(QUOTE_CHARACTERS_MAX + 1)]
"""What a quote costs, by the characters that it shows."""

# An expression that begins with a character is looked for several times as fast as one that begins by looking back.
_SENTENCE_END: Final = re.compile("\\s(?:(?<=\n)|(?<=[.!?\u2026]\\s))")
# Fullwidth and ideographic marks, the Arabic question mark and the danda end a sentence without a space after.
_ENDING_MARK: Final = re.compile("[\u3002\uff01\uff1f\u061f\u0964]")
_QUESTION_MARKS: Final = ("?", "\uff1f", "\u061f")
# A capital that does not begin a sentence, and numbers.
_NAME: Final = re.compile(r"[A-Z\u00c0-\u00de\d](?:(?<=\S [A-Z\u00c0-\u00de])[\w'\u2019-]*|(?<=\d)[\d.,:/]*)")
_COMMITMENT: Final = re.compile(
    r"[ilw](?<=\b[ilw])(?:(?:(?<=i)|(?<=w)e)(?:'ll| will| promise| can do)|(?<=l)et me"
    r"|(?:(?<=i)(?:'?m| am)|(?<=w)e(?:'re| are))(?: \w+)? (?:going to|gonna))\b"
)


class _Sentence(NamedTuple):
    turn: Turn
    text: str
    terms: tuple[str, ...]
    is_question: bool
    is_commitment: bool

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
        lines = [_title(turns)]
        carried: list[Turn] = []
        for question in previous.open_questions if previous else ():
            reply = next((s for s in sentences if not s.is_question and s.turn.role != question.role), None)
            lines.append(f"Asked before: {_quote(question)}{_reply_note(reply)}")
            if reply is None:
                carried.append(question)
        lines.extend(_quote(Turn(s.turn.number, s.turn.role, s.text)) + _kind_note(s) for s in chosen)
        unanswered = [Turn(s.turn.number, s.turn.role, s.text) for s in _unanswered(sentences)]
        if unanswered:
            numbers = sorted({question.number for question in unanswered})
            lines.append(f"No reply yet to the questions of turn {_listed(numbers)}.")
        if any(len(turn.text) > TURN_CHARACTERS_MAX for turn in turns):
            lines.append(f"Of longer turns the first {TURN_CHARACTERS_MAX} characters were read.")
        return Summary("\n".join(lines), tuple((carried + unanswered)[-OPEN_QUESTIONS_MAX:]))


def _sentences(turn: Turn) -> Iterable[_Sentence]:
    for part in _SENTENCE_END.split(_with_lines(turn.text[:TURN_CHARACTERS_MAX])):
        text = part.strip()
        if text:
            folded = plain(text)
            yield _Sentence(
                turn,
                text,
                plain_terms(folded),
                text.endswith(_QUESTION_MARKS),
                _COMMITMENT.search(folded) is not None,
            )


def _with_lines(text: str) -> str:
    """The text with a line for each sentence that ends without a space."""
    return text if text.isascii() else _ENDING_MARK.sub("\\g<0>\n", text)


def _choose(sentences: Sequence[_Sentence], previous: Summary | None) -> list[_Sentence]:
    """The sentences to quote, in the order they were said."""
    # What each sentence would add; the words of those that are chosen count no more.
    new = [dict.fromkeys(sentence.terms) for sentence in sentences]
    places: dict[str, list[int]] = {}
    for i, words in enumerate(new):
        for term in words:
            places.setdefault(term, []).append(i)
    weights = _weights(sentences, places, previous)
    gains = [sum(map(weights.__getitem__, words)) for words in new]
    shares = [sentence.bonus / len(words) if words else 0.0 for sentence, words in zip(sentences, new, strict=True)]
    shown = [min(len(sentence.text), QUOTE_CHARACTERS_MAX) for sentence in sentences]
    costs = [_COSTS[characters] for characters in shown]
    values = [(gains[i] + shares[i] * len(words)) / costs[i] for i, words in enumerate(new)]
    remaining = [i for i, words in enumerate(new) if words] or list(range(len(sentences)))
    chosen: list[int] = []
    characters = 0
    while remaining and len(chosen) < QUOTES_MAX and characters < QUOTED_CHARACTERS:
        best = max(remaining, key=values.__getitem__)
        if chosen and not new[best]:
            break
        chosen.append(best)
        characters += shown[best]
        changed: set[int] = set()
        for term in list(new[best]):
            for i in places[term]:
                gains[i] -= weights[term]
                del new[i][term]
            changed.update(places[term])
        for i in changed:
            values[i] = (gains[i] + shares[i] * len(new[i])) / costs[i]
        remaining = [i for i in remaining if new[i]]
    return [sentences[i] for i in sorted(chosen)]


def _weights(
    sentences: Sequence[_Sentence], places: Mapping[str, Sequence[int]], previous: Summary | None
) -> dict[str, float]:
    """What each word is worth, by the sentences that have it."""
    worth = [_WORD_WEIGHT * (1 + math.log(count)) for count in range(1, len(sentences) + 1)]
    weights = {term: worth[len(found) - 1] for term, found in places.items()}
    # A line for each, as a name begins behind a space of its own sentence.
    names = _NAME.findall("\n".join([sentence.text for sentence in sentences]))
    for term in weights.keys() & terms("\n".join(names)):
        weights[term] += _NAME_WEIGHT
    if previous:
        for term in weights.keys() & terms(previous.text):
            weights[term] *= _KNOWN_SHARE
    return weights


def _unanswered(sentences: Sequence[_Sentence]) -> list[_Sentence]:
    """The questions after which nobody else states anything."""
    found: list[_Sentence] = []
    stating: set[str] = set()
    for sentence in reversed(sentences):
        if not sentence.is_question:
            stating.add(sentence.turn.role)
        elif stating <= {sentence.turn.role}:
            found.append(sentence)
    found.reverse()
    return found


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
