"""What models may cost a day, and what they have been asked already: budgets, and the ledger of answers.

Before a model is asked the most that its answer can cost is reserved, and afterwards the rest given back. So a budget
is never exceeded, and of a process that dies between the two the reservation stays spent.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Protocol

from afterwrite.errors import ConditionalCheckFailed, DeclarationError

_DAY_S: Final = 86_400
_KEPT_DAYS: Final = 7
# What a model's chat template adds to the texts of a request, in tokens.
_FRAMING_TOKENS: Final = 64


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, of the request and of the answer, in the currency of the budget."""

    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens, of requests and answers together, and money in millionths of the currency's unit."""

    tokens: int = 0
    micros: int = 0

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.tokens - other.tokens, self.micros - other.micros)


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent from midnight to midnight (UTC): tokens, money, both, or without an end (None)."""

    tokens_a_day: int | None = None
    money_a_day: Decimal | None = None
    price: Price = Price()

    def __post_init__(self) -> None:
        if self.money_a_day is not None and not (self.price.input or self.price.output):
            raise DeclarationError("expected the price of a million tokens with money_a_day, got none: give `price`")

    def cost(self, input_tokens: int, output_tokens: int) -> Cost:
        """What a request and its answer cost."""
        money = input_tokens * self.price.input + output_tokens * self.price.output
        return Cost(input_tokens + output_tokens, math.ceil(money))

    def cost_at_most(self, text: str, output_tokens_max: int) -> Cost:
        """The most that a request with `text` can cost: no tokenizer makes more tokens of a text than it has bytes."""
        return self.cost(len(text.encode("utf-8", "surrogatepass")) + _FRAMING_TOKENS, output_tokens_max)

    @property
    def limits(self) -> Mapping[str, int]:
        """The most of each measure a day, for those that have an end."""
        money = None if self.money_a_day is None else int(self.money_a_day * 1_000_000)
        return {name: limit for name, limit in (("tokens", self.tokens_a_day), ("micros", money)) if limit is not None}


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside on a day (`2026-11-21`) for one request."""

    day: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer as the ledger keeps it; `stop_reason` is why it is not whole, None where it is."""

    text: str
    input_tokens: int
    output_tokens: int
    stop_reason: str | None = None


class Spending(Protocol):
    """A budget, and the answers that were paid for.

    Duplicates: a request whose reply is kept is not to be made again. Of two that ask at one time both may find no
    reply, and both pay. Concurrency: any number of processes where the place is a table; the sum of all reservations
    of a day never exceeds the budget. Durability: on return, as durable as the place.
    """

    @property
    def budget(self) -> Budget:
        """What may be spent."""

    def reply(self, request_id: str) -> Reply | None:
        """The reply to a request, where it is kept."""

    def reserve(self, cost: Cost) -> Reservation | None:
        """Set the cost aside for a request; None where the day's budget does not hold it."""

    def settle(self, reservation: Reservation, used: Cost, request_id: str, reply: Reply | None) -> None:
        """Keep the reply, if there is one, then give back what was not used."""


class TableSpending:
    """Spending kept in a DynamoDB table, shared by every process: durable as the table.

    It has items of its own there: one a day, and one for each reply, both with a time to live of a week. `table` is
    a function's client (`context.table(…)`) of a table with a sort key, whose names are given.
    """

    def __init__(
        self,
        table: Any,
        budget: Budget,
        now_ms: int,
        *,
        partition_key: str = "PK",
        sort_key: str = "SK",
        ttl: str = "ttl",
        prefix: str = "SUMMARIES#",
    ) -> None:
        self._table = table
        self._budget = budget
        self._now_ms = now_ms
        self._partition_key, self._sort_key, self._ttl = partition_key, sort_key, ttl
        self._prefix = prefix

    @property
    def budget(self) -> Budget:
        """What may be spent."""
        return self._budget

    def reply(self, request_id: str) -> Reply | None:
        """The reply to a request, where it is kept."""
        item = self._table.get(self._key("REPLY", request_id))
        if item is None:
            return None
        return Reply(item["text"], int(item["input_tokens"]), int(item["output_tokens"]), item.get("stop_reason"))

    def reserve(self, cost: Cost) -> Reservation | None:
        """Set the cost aside by one conditional update; None where the day's budget does not hold it."""
        limits = self._budget.limits
        asked = {"tokens": cost.tokens, "micros": cost.micros}
        if any(asked[name] > limit for name, limit in limits.items()):
            return None
        day = _day(self._now_ms)
        conditions = [f"(attribute_not_exists(#{name}) OR #{name} <= :{name}_left)" for name in limits]
        try:
            self._table.update(
                self._key("SPENT", day),
                "SET #ttl = :ttl ADD #tokens :tokens, #micros :micros",
                condition=" AND ".join(conditions) or None,
                names={"#ttl": self._ttl, "#tokens": "tokens", "#micros": "micros"},
                values={
                    "ttl": self._expires_s(),
                    **asked,
                    **{f"{name}_left": limit - asked[name] for name, limit in limits.items()},
                },
            )
        except ConditionalCheckFailed:
            return None
        return Reservation(day, cost)

    def settle(self, reservation: Reservation, used: Cost, request_id: str, reply: Reply | None) -> None:
        """Keep the reply, if there is one, then give back what was not used."""
        if reply is not None:
            kept: dict[str, Any] = {
                "text": reply.text,
                "input_tokens": reply.input_tokens,
                "output_tokens": reply.output_tokens,
                self._ttl: self._expires_s(),
            }
            if reply.stop_reason is not None:
                kept["stop_reason"] = reply.stop_reason
            self._table.put({**self._key("REPLY", request_id), **kept})
        rest = used - reservation.cost
        if rest == Cost():
            return
        # A day that has expired meanwhile has nothing to be given back to, and is not to be made anew.
        with contextlib.suppress(ConditionalCheckFailed):
            self._table.update(
                self._key("SPENT", reservation.day),
                "ADD #tokens :tokens, #micros :micros",
                condition="attribute_exists(#tokens)",
                names={"#tokens": "tokens", "#micros": "micros"},
                values={"tokens": rest.tokens, "micros": rest.micros},
            )

    def _key(self, kind: str, name: str) -> dict[str, Any]:
        # Replies are spread over partitions, days are few.
        return {self._partition_key: f"{self._prefix}{kind}#{name}", self._sort_key: kind}

    def _expires_s(self) -> int:
        return self._now_ms // 1000 + _KEPT_DAYS * _DAY_S


class MemorySpending:
    """Spending of this process alone: what it has spent is forgotten with it, and each process has the whole budget."""

    def __init__(self, budget: Budget, now_ms: Callable[[], int], *, replies_max: int = 1_000) -> None:
        self._budget = budget
        self._now_ms = now_ms
        self._replies_max = replies_max
        self._lock = threading.Lock()
        self._spent: dict[str, Cost] = {}
        self._replies: dict[str, Reply] = {}

    @property
    def budget(self) -> Budget:
        """What may be spent."""
        return self._budget

    def reply(self, request_id: str) -> Reply | None:
        """The reply to a request, where it is kept: the last ones are."""
        with self._lock:
            return self._replies.get(request_id)

    def reserve(self, cost: Cost) -> Reservation | None:
        """Set the cost aside; None where the day's budget does not hold it."""
        limits = self._budget.limits
        with self._lock:
            # A clock that is set back does not make a day's budget anew.
            day = max(_day(self._now_ms()), *self._spent, "")
            spent = self._spent.get(day, Cost())
            after = Cost(spent.tokens + cost.tokens, spent.micros + cost.micros)
            if after.tokens > limits.get("tokens", after.tokens) or after.micros > limits.get("micros", after.micros):
                return None
            # Of other days nothing but a request under way could still be given back.
            self._spent = {day: after}
        return Reservation(day, cost)

    def settle(self, reservation: Reservation, used: Cost, request_id: str, reply: Reply | None) -> None:
        """Keep the reply, if there is one, then give back what was not used."""
        rest = reservation.cost - used
        with self._lock:
            if reply is not None:
                self._replies[request_id] = reply
                if len(self._replies) > self._replies_max:
                    del self._replies[next(iter(self._replies))]
            if reservation.day in self._spent:
                self._spent[reservation.day] -= rest


def _day(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
