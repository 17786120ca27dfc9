"""Who writes the summaries: a model, as the settings choose, or the summarizer that quotes and needs none."""

from __future__ import annotations

from typing import Any

from afterwrite.summaries import (
    Budget,
    ExtractiveSummarizer,
    LanguageModel,
    ModelSummarizer,
    Price,
    PromptTemplate,
    Summarizer,
    TableSpending,
    bedrock,
    openai,
)
from manga_assist.settings import Settings


class Summarizers:
    """Makes the summarizer of each invocation. Raises DeclarationError for settings that do not go together."""

    def __init__(self, settings: Settings) -> None:
        chosen = settings.summary
        self._budget = Budget(chosen.tokens_a_day, chosen.money_a_day, Price(*chosen.price))
        if chosen.summarizer == "extractive":
            self._asked: tuple[LanguageModel, PromptTemplate] | None = None
            return
        if chosen.summarizer == "bedrock":
            model = bedrock(chosen.model, timeout_s=chosen.timeout_s, attempts_max=2)
        else:
            model = openai(chosen.url, chosen.model, api_key=chosen.api_key, timeout_s=chosen.timeout_s)
        self._asked = model, PromptTemplate.read(chosen.prompt) if chosen.prompt else PromptTemplate.default()

    def within_budget(self, operations: Any, now_ms: int) -> Summarizer:
        """The summarizer, whose model's budget and replies are kept in the table `operations`."""
        if self._asked is None:
            return ExtractiveSummarizer()
        model, template = self._asked
        return ModelSummarizer(model, TableSpending(operations, self._budget, now_ms), template)
