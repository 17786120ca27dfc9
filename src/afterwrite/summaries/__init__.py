"""Summaries of conversations: by a model within a budget, whose answers are checked, or by quoting what was said.

    >>> from afterwrite.summaries import ExtractiveSummarizer, Turn
    >>> turns = [Turn(1, "customer", "Where is volume three of the series?")]
    >>> ExtractiveSummarizer().summarize(turns, None).open_questions == tuple(turns)
    True

With a model: `ModelSummarizer(openai("http://127.0.0.1:11434/v1", "llama3.2"), TableSpending(table, budget, now_ms))`.
What it does, what is checked and what that is worth: docs/summaries.md.
"""

from afterwrite.summaries.checking import Fault, Limits
from afterwrite.summaries.extractive import ExtractiveSummarizer
from afterwrite.summaries.modelled import ModelSummarizer
from afterwrite.summaries.port import Made, Summarizer, Summary, Turn
from afterwrite.summaries.prompts import PromptTemplate
from afterwrite.summaries.providers import bedrock, openai
from afterwrite.summaries.spending import Budget, MemorySpending, Price, Spending, TableSpending
from afterwrite.targets.language_models import Answer, AnswerNotWhole, LanguageModel, ModelFailed, Said

__all__ = [
    "Answer",
    "AnswerNotWhole",
    "Budget",
    "ExtractiveSummarizer",
    "Fault",
    "LanguageModel",
    "Limits",
    "Made",
    "MemorySpending",
    "ModelFailed",
    "ModelSummarizer",
    "Price",
    "PromptTemplate",
    "Said",
    "Spending",
    "Summarizer",
    "Summary",
    "TableSpending",
    "Turn",
    "bedrock",
    "openai",
]
