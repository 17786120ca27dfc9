"""Language models as targets: what one answers, and the two ways in which it gives no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from afterwrite.core.target_failures import TargetFailure
from afterwrite.errors import AfterwriteError

_REMEDIES: Final = {
    "max_tokens": "ask for less, or raise max_tokens",
    "length": "ask for less, or raise max_tokens",
    "content_filtered": "the model's own filter held back the answer",
    "content_filter": "the model's own filter held back the answer",
    "guardrail_intervened": "the guardrail blocked the request or the answer",
    "refusal": "the model refuses what it is asked: see the prompt",
}


class ModelFailed(AfterwriteError):
    """A model was not asked, or did not answer; `failure` is the service's, of the kinds of every target.

    `retry_after_s` is how long (s) the service asks to be left alone, if it does. `may_have_cost`: the request may
    have been answered, and be on the bill, though no answer came.
    """

    def __init__(
        self, failure: TargetFailure, *, retry_after_s: float | None = None, may_have_cost: bool = False
    ) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.retry_after_s = retry_after_s
        self.may_have_cost = may_have_cost


class AnswerNotWhole(AfterwriteError):
    """A model's answer ends before it is whole; `stop_reason` is the service's name for why, `text` what came.

    The tokens are those of the request and of what came, which the service bills all the same.
    """

    def __init__(
        self, model_id: str, stop_reason: str, text: str, *, input_tokens: int = 0, output_tokens: int = 0
    ) -> None:
        remedy = _REMEDIES.get(stop_reason, "see the service's documentation of this reason")
        super().__init__(f"{model_id}: expected a whole answer, got one that ends by {stop_reason}: {remedy}")
        self.stop_reason = stop_reason
        self.text = text
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, and what it cost in tokens."""

    text: str
    input_tokens: int
    output_tokens: int


class Said(NamedTuple):
    """What a model said, why it stopped, in the service's word, and what it cost in tokens."""

    text: str
    stop_reason: str
    input_tokens: int
    output_tokens: int


class LanguageModel(Protocol):
    """A language model that is asked once, without a conversation.

    Duplicates: a request that gets no answer may have been answered, and is billed then. Concurrency: any number of
    threads. Nothing is kept of what is asked.
    """

    @property
    def model_id(self) -> str:
        """The model's name with its service."""

    def ask(self, text: str, *, system: str | None = None, max_tokens: int = 1_024, temperature: float = 0.0) -> Answer:
        """The answer to `text`, of at most `max_tokens`. Raises ModelFailed and AnswerNotWhole."""
