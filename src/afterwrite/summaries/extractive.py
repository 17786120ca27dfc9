"""A summarizer that works offline: it chooses sentences of the conversation and quotes them as they were said.

Sentences are weighed by TF-IDF within the window. A sentence's centrality is the sum of its similarities to
all sentences, which is its similarity to their sum, so the cost grows with the words and not with the pairs.
Questions and commitments are preferred. Each next sentence is chosen for what it adds to those chosen before
and to the previous summary (maximal marginal relevance). Nothing is worded anew: the text names its turns.
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

QUOTES_MAX: Final = 5
OPEN_QUESTIONS_MAX: Final = 3
QUOTE_CHARACTERS_MAX: Final = 200
TURN_CHARACTERS_MAX: Final = 4_000
"""How much of a turn is read; a longer one is cut, and the summary says so."""

_QUESTION_WEIGHT: Final = 0.25
_COMMITMENT_WEIGHT: Final = 0.35
_BREVITY_TERMS: Final = 4
_RELEVANCE_SHARE: Final = 0.6
_SAME: Final = 0.9
"""Sentences this similar say the same: one of them is enough."""

# Fullwidth and ideographic marks, the Arabic question mark and the danda end a sentence without a space after.
_SENTENCE_END = re.compile("(?<=[.!?\u2026])\\s+|(?<=[\u3002\uff01\uff1f\u061f\u0964])\\s*|\\s*\\n\\s*")
_QUESTION_MARKS: Final = ("?", "\uff1f", "\u061f")
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


_Vector = dict[str, float]


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
    frequency = Counter(term for sentence in sentences for term in set(sentence.terms))
    rarity = {term: 1.0 + math.log(len(sentences) / count) for term, count in frequency.items()}
    vectors = [_vector(sentence.terms, rarity) for sentence in sentences]
    scores = _scores(sentences, vectors)
    seen = _vector(terms(previous.text), rarity) if previous else {}
    redundancy = [_similarity(vector, seen) for vector in vectors]
    remaining = [i for i, sentence in enumerate(sentences) if sentence.terms] or list(range(len(sentences)))
    chosen: list[int] = []
    while remaining and len(chosen) < QUOTES_MAX:
        best = max(
            remaining,
            key=lambda i: (_RELEVANCE_SHARE * scores[i] - (1 - _RELEVANCE_SHARE) * redundancy[i], -i),
        )
        chosen.append(best)
        for i in remaining:
            redundancy[i] = max(redundancy[i], _similarity(vectors[i], vectors[best]))
        remaining = [i for i in remaining if i != best and redundancy[i] < _SAME]
    return [sentences[i] for i in sorted(chosen)]


def _scores(sentences: Sequence[_Sentence], vectors: Sequence[_Vector]) -> list[float]:
    total: _Vector = {}
    for vector in vectors:
        for term, weight in vector.items():
            total[term] = total.get(term, 0.0) + weight
    centralities = [_similarity(vector, total) for vector in vectors]
    highest = max(centralities, default=0.0) or 1.0
    return [
        # A sentence of one or two words is close to many others and says little.
        centrality / highest * min(len(sentence.terms) / _BREVITY_TERMS, 1.0)
        + _QUESTION_WEIGHT * (sentence.is_question and len(sentence.terms) > 1)
        + _COMMITMENT_WEIGHT * (sentence.is_commitment and len(sentence.terms) > 1)
        for sentence, centrality in zip(sentences, centralities, strict=True)
    ]


def _vector(terms: Sequence[str], rarity: dict[str, float]) -> _Vector:
    weights: _Vector = {}
    for term in terms:
        if term in rarity:
            weights[term] = weights.get(term, 0.0) + rarity[term]
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {term: weight / length for term, weight in weights.items()} if length else weights


def _similarity(a: _Vector, b: _Vector) -> float:
    shorter, longer = (a, b) if len(a) <= len(b) else (b, a)
    return sum(weight * longer[term] for term, weight in shorter.items() if term in longer)


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
