"""What is summarized, what comes of it, and the contract of those who do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation, numbered from 1."""

    number: int
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Made:
    """How a summary was made.

    `method` is `extractive` or `model`. `model` is the model that was asked, also where its answer was not taken;
    `fallback` is why it was not, None where it was or none was asked: the kind of the reason, a colon, and its words,
    none of which are the conversation's. The tokens are those of the answer, whoever paid for it and when.
    """

    method: str = "extractive"
    model: str | None = None
    fallback: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a summarizer says about a window of turns.

    `open_questions` are sentences of the conversation that nobody had replied to when the window ended; the
    next window's summary gets them as part of its context.
    """

    text: str
    open_questions: tuple[Turn, ...] = ()
    made: Made = Made()


class Summarizer(Protocol):
    """Summarizes a window of turns, given the summary of the window before it (None for the first).

    The same input gives a summary of the same window, and the same one where nothing but the input decides it, as a
    window may be tried more than once. Raises whatever keeps it from summarizing; nothing is written then, and the
    window is tried again. Concurrency: any number of threads.
    """

    def summarize(self, turns: Sequence[Turn], previous: Summary | None) -> Summary:
        """The summary of `turns`, which are in order and consecutive."""
