"""Budgets hold, in memory and in a table, whoever asks at once; a reply that is kept is not paid for twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from afterwrite import App, DeclarationError
from afterwrite.config import Settings
from afterwrite.core.table_client import TableClient
from afterwrite.summaries import Budget, MemorySpending, Price, Spending, TableSpending
from afterwrite.summaries.spending import Cost, Reply
from afterwrite.wiring import Engine

# Far enough ahead that no item of it expires during a test.
NOON_MS = 4_102_488_000_000
DAY_MS = 86_400_000
PRICE = Price(Decimal("0.25"), Decimal("1.25"))

MakeSpending = Callable[[Budget, int], Spending]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    app = App("spending")
    app.table("kept", partition_key="PK", sort_key="SK", ttl="ttl")
    with Engine(app, Settings(Path(tmp_path_factory.mktemp("data")) / "data", port=None)) as engine:
        yield engine


@pytest.fixture(params=["memory", "table"])
def make(request: pytest.FixtureRequest, engine: Engine) -> MakeSpending:
    """Spending at a time; what is made later in the test shares what was spent before."""
    now_ms = NOON_MS
    memory: list[MemorySpending] = []

    def in_memory(budget: Budget, at_ms: int) -> Spending:
        nonlocal now_ms
        now_ms = at_ms
        if not memory:
            memory.append(MemorySpending(budget, lambda: now_ms))
        return memory[0]

    def in_table(budget: Budget, at_ms: int) -> Spending:
        table: TableClient = engine.services.table("kept")
        return TableSpending(table, budget, at_ms, prefix=f"{request.node.name}#")

    return in_memory if request.param == "memory" else in_table


def test_a_day_s_tokens_are_reserved_settled_and_new_the_next_day(make: MakeSpending) -> None:
    budget = Budget(tokens_a_day=100)
    spending = make(budget, NOON_MS)
    first = spending.reserve(Cost(60))
    assert first is not None
    assert spending.reserve(Cost(60)) is None
    spending.settle(first, Cost(10), "r1", Reply("text", 7, 3))
    second = spending.reserve(Cost(60))
    assert second is not None
    assert make(budget, NOON_MS).reserve(Cost(31)) is None
    assert make(budget, NOON_MS).reserve(Cost(30)) is not None
    assert make(budget, NOON_MS + DAY_MS).reserve(Cost(100)) is not None


def test_a_process_s_clock_that_is_set_back_makes_no_day_s_budget_anew() -> None:
    times_ms = iter([NOON_MS + DAY_MS, NOON_MS, NOON_MS + DAY_MS])
    spending = MemorySpending(Budget(tokens_a_day=100), lambda: next(times_ms))
    assert spending.reserve(Cost(60)) is not None
    assert spending.reserve(Cost(60)) is None
    assert spending.reserve(Cost(60)) is None


def test_more_than_a_day_has_is_never_reserved(make: MakeSpending) -> None:
    assert make(Budget(tokens_a_day=100), NOON_MS).reserve(Cost(101)) is None


def test_money_has_a_budget_of_its_own(make: MakeSpending) -> None:
    budget = Budget(money_a_day=Decimal("0.01"), price=PRICE)
    cost = budget.cost(20_000, 2_000)
    assert cost == Cost(22_000, 7_500)
    spending = make(budget, NOON_MS)
    assert spending.reserve(cost) is not None
    assert spending.reserve(cost) is None
    assert spending.reserve(budget.cost(10_000, 0)) is not None


def test_without_a_limit_everything_is_reserved(make: MakeSpending) -> None:
    assert make(Budget(), NOON_MS).reserve(Cost(10**12, 10**12)) is not None


def test_replies_are_kept_whole(make: MakeSpending) -> None:
    spending = make(Budget(), NOON_MS)
    for name, reply in (("a", Reply("text", 7, 3)), ("b", Reply("", 7, 3, "max_tokens"))):
        reservation = spending.reserve(Cost(10))
        assert reservation is not None
        spending.settle(reservation, Cost(10), name, reply)
        assert make(Budget(), NOON_MS).reply(name) == reply
    assert spending.reply("c") is None


def test_those_who_ask_at_once_do_not_exceed_the_budget_together(make: MakeSpending) -> None:
    spending = make(Budget(tokens_a_day=100), NOON_MS)
    with ThreadPoolExecutor(8) as threads:
        granted = list(threads.map(lambda _: spending.reserve(Cost(9)), range(40)))
    assert sum(each is not None for each in granted) == 11


def test_the_reservation_covers_every_tokenizer() -> None:
    cost = Budget(price=PRICE).cost_at_most("日本語", 10)
    assert cost.tokens >= 9 + 10


def test_money_without_a_price_is_refused() -> None:
    with pytest.raises(DeclarationError, match="price"):
        Budget(money_a_day=Decimal(1))


def test_the_items_expire(engine: Engine) -> None:
    table = engine.services.table("kept")
    spending = TableSpending(table, Budget(tokens_a_day=100), NOON_MS, prefix="EXPIRING#")
    reservation = spending.reserve(Cost(10))
    assert reservation is not None
    spending.settle(reservation, Cost(5), "r1", Reply("text", 3, 2))
    items = [item for item in table.scan() if item["PK"].startswith("EXPIRING#")]
    assert sorted(item["SK"] for item in items) == ["REPLY", "SPENT"]
    assert {int(item["ttl"]) for item in items} == {NOON_MS // 1000 + 7 * 86_400}


def test_what_is_settled_after_its_day_has_expired_leaves_nothing_behind(engine: Engine) -> None:
    table = engine.services.table("kept")
    spending = TableSpending(table, Budget(tokens_a_day=100), NOON_MS, prefix="LATE#")
    reservation = spending.reserve(Cost(10))
    assert reservation is not None
    table.delete({"PK": f"LATE#SPENT#{reservation.day}", "SK": "SPENT"})
    spending.settle(reservation, Cost(5), "r1", None)
    assert [item for item in table.scan() if item["PK"].startswith("LATE#")] == []
