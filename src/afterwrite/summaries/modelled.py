"""A summarizer that asks a model, takes no answer on trust, and quotes the conversation where there is none to take."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from afterwrite.errors import Throttled, Unavailable
from afterwrite.summaries.checking import Limits, cleaned, fault_in
from afterwrite.summaries.extractive import ExtractiveSummarizer
from afterwrite.summaries.port import Made, Summary, Turn
from afterwrite.summaries.prompts import TURN_CHARACTERS_MAX, Prompt, PromptTemplate, visible
from afterwrite.summaries.spending import Cost, Reply, Spending
from afterwrite.targets.language_models import AnswerNotWhole, LanguageModel, ModelFailed

_LOG: Final = logging.getLogger("afterwrite")
_EXTRACTIVE: Final = ExtractiveSummarizer()


class _NotAnswered(Exception):
    """No reply: why, in words that may be kept."""


@dataclass(frozen=True, slots=True)
class ModelSummarizer:
    """Asks `model`, within `spending`'s budget, and checks what it answers.

    Whatever keeps a model's words from being the summary, the extractive one takes their place, with the reason in
    `Summary.made.fallback` and in the log: `budget`, `failed`, `not whole`, or what the check found (`checking`).
    With `outage="raise"` a model that is throttled or does not answer raises Throttled or Unavailable instead, so
    that the engine tries later. The open questions are always the extractive summarizer's: they are quotes.
    """

    model: LanguageModel
    spending: Spending
    template: PromptTemplate = field(default_factory=PromptTemplate.default)
    limits: Limits = field(default_factory=Limits)
    outage: Literal["extract", "raise"] = "extract"

    def summarize(self, turns: Sequence[Turn], previous: Summary | None) -> Summary:
        """The summary of `turns`. Raises Throttled and Unavailable where an outage is to."""
        extract = _EXTRACTIVE.summarize(turns, previous)
        seen = [Turn(turn.number, turn.role, visible(turn.text[:TURN_CHARACTERS_MAX])) for turn in turns]
        if not any(turn.text.strip() for turn in seen):
            return extract
        prompt = self.template.fill(
            seen, previous, sentences=self.limits.sentences_max, characters=self.limits.characters_max
        )
        try:
            reply = self._reply(prompt)
        except _NotAnswered as reason:
            return self._instead(extract, Reply("", 0, 0), str(reason))
        if reply.stop_reason is not None:
            return self._instead(extract, reply, f"not whole: the answer ends by {reply.stop_reason}")
        text = cleaned(reply.text)
        fault = fault_in(text, seen, previous, prompt, self.limits)
        if fault is not None:
            return self._instead(extract, reply, str(fault))
        made = Made("model", self.model.model_id, None, reply.input_tokens, reply.output_tokens)
        return Summary(text, extract.open_questions, made)

    def _reply(self, prompt: Prompt) -> Reply:
        """The ledger's reply where it has one, else the model's, which it then has."""
        request_id = _request_id(self.model.model_id, prompt, self.limits)
        kept = self.spending.reply(request_id)
        if kept is not None:
            return kept
        budget = self.spending.budget
        reservation = self.spending.reserve(
            budget.cost_at_most(prompt.system + prompt.text, self.limits.answer_tokens_max)
        )
        if reservation is None:
            raise _NotAnswered("budget: the day's budget does not hold the request")
        try:
            answer = self.model.ask(prompt.text, system=prompt.system, max_tokens=self.limits.answer_tokens_max)
            reply = Reply(answer.text, answer.input_tokens, answer.output_tokens)
        except AnswerNotWhole as part:
            reply = Reply("", part.input_tokens, part.output_tokens, part.stop_reason)
        except ModelFailed as failed:
            used = reservation.cost if failed.may_have_cost else Cost()
            self.spending.settle(reservation, used, request_id, None)
            raise self._failed(failed) from failed
        used = budget.cost(reply.input_tokens, reply.output_tokens)
        # An endpoint that does not say what it used is taken to have used what was set aside.
        self.spending.settle(reservation, used if used.tokens else reservation.cost, request_id, reply)
        return reply

    def _failed(self, failed: ModelFailed) -> Exception:
        failure = failed.failure
        if self.outage == "raise":
            words = f"{failure.target}: {failure.kind}, {failure.code}"
            match failure.kind:
                case "throttled":
                    return Throttled(words, retry_after_s=failed.retry_after_s)
                case "unavailable":
                    return Unavailable(words, retry_after_s=failed.retry_after_s)
        # The service's own words may quote what it was sent.
        return _NotAnswered(f"failed: {failure.kind}, {failure.code}")

    def _instead(self, extract: Summary, reply: Reply, reason: str) -> Summary:
        model_id = self.model.model_id
        _LOG.warning("summary extracted", extra={"fields": {"model": model_id, "reason": reason}})
        made = Made("extractive", model_id, reason, reply.input_tokens, reply.output_tokens)
        return replace(extract, made=made)


def _request_id(model_id: str, prompt: Prompt, limits: Limits) -> str:
    parts = "\0".join((model_id, str(limits.answer_tokens_max), prompt.system, prompt.text))
    return hashlib.blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
