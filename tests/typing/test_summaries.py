"""The public surface of `afterwrite.summaries`, typed as a user's program sees it; mypy checks this file, too."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from decimal import Decimal
from typing import assert_type

from afterwrite import summaries
from afterwrite.summaries import (
    Answer,
    Budget,
    ExtractiveSummarizer,
    LanguageModel,
    Made,
    MemorySpending,
    ModelSummarizer,
    Price,
    Summarizer,
    Summary,
    Turn,
)

TURNS = [Turn(1, "customer", "Where is volume three of the series?"), Turn(2, "assistant", "It ships on Friday.")]


class Parrot:
    """A model of a user's own."""

    model_id = "parrot"

    def ask(self, text: str, *, system: str | None = None, max_tokens: int = 1_024, temperature: float = 0.0) -> Answer:
        return Answer("The customer asks about volume three of the series, which ships on Friday.", 20, 15)


class Shortest:
    """A summarizer of a user's own."""

    def summarize(self, turns: Sequence[Turn], previous: Summary | None) -> Summary:
        return Summary(min((turn.text for turn in turns), key=len))


def test_a_model_of_one_s_own() -> None:
    model: LanguageModel = Parrot()
    budget = Budget(money_a_day=Decimal(1), price=Price(Decimal(1), Decimal(2)))
    summarizer: Summarizer = ModelSummarizer(model, MemorySpending(budget, lambda: 0))
    summary = assert_type(summarizer.summarize(TURNS, None), Summary)
    assert assert_type(summary.made, Made) == Made("model", "parrot", None, 20, 15)
    assert assert_type(summary.open_questions, tuple[Turn, ...]) == ()


def test_a_summarizer_of_one_s_own() -> None:
    summarizers: list[Summarizer] = [ExtractiveSummarizer(), Shortest()]
    assert summarizers[1].summarize(TURNS, None).text == "It ships on Friday."


def test_every_public_name_is_there_and_the_examples_hold() -> None:
    assert all(hasattr(summaries, name) for name in summaries.__all__)
    assert doctest.testmod(summaries).failed == 0
