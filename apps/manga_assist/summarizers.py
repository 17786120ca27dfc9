"""Who writes the summaries: a model, as the settings choose, or the summarizer that quotes and needs none."""

from __future__ import annotations

from typing import Any

from afterwrite.summaries import (
    Budget,
    ExtractiveSummarizer,
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
        self._model = None
        if chosen.summarizer == "bedrock":
            self._model = bedrock(chosen.model, timeout_s=chosen.timeout_s, attempts_max=2)
        elif chosen.summarizer == "openai":
            self._model = openai(chosen.url, chosen.model, api_key=chosen.api_key, timeout_s=chosen.timeout_s)
        self._template = PromptTemplate.read(chosen.prompt) if chosen.prompt else PromptTemplate.default()
        self._budget = Budget(chosen.tokens_a_day, chosen.money_a_day, Price(*chosen.price))

    def within_budget(self, operations: Any, now_ms: int) -> Summarizer:
        """The summarizer, whose model's budget and replies are kept in the table `operations`."""
        if self._model is None:
            return ExtractiveSummarizer()
        return ModelSummarizer(self._model, TableSpending(operations, self._budget, now_ms), self._template)
