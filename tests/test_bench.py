"""The load of the figures: prepared requests are what they claim to be, whoever sends them."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import socket
import threading
from collections.abc import Sequence

import pytest
from bench import inventory, summaries, templates
from bench.report import Figure, table
from bench.wire import System
from bench.wrk import drive

from afterwrite.summaries import ExtractiveSummarizer, Turn
from bounds import BOUND_S

SYSTEM = System("here", "127.0.0.1", 1)


def _requests(operation: str, bodies: list[templates.Body], count: int) -> list[bytes]:
    written = [templates.template(SYSTEM, operation, body) for body in bodies]
    return list(itertools.islice(templates.filled(written), count))


def _body(request: bytes) -> dict[str, object]:
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    parsed: dict[str, object] = json.loads(body)
    return parsed


def test_new_items_have_keys_of_their_own_and_their_number_s_partition() -> None:
    bodies = map(_body, _requests("BatchWriteItem", templates.batch_write_item("run"), 100))
    puts = [put["PutRequest"]["Item"] for body in bodies for put in body["RequestItems"]["bench"]]  # type: ignore[index]
    assert [item["SK"]["S"] for item in puts] == [f"TURN#{number:012d}" for number in range(2500)]
    assert [item["PK"]["S"] for item in puts] == [templates.partition("run", number % 200) for number in range(2500)]


def test_stored_keys_reach_every_stored_item_once_in_each_pass() -> None:
    bodies = map(_body, _requests("GetItem", templates.get_item("run"), templates.STORED))
    keys = {(body["Key"]["PK"]["S"], body["Key"]["SK"]["S"]) for body in bodies}  # type: ignore[index]
    numbers = range(templates.STORED)
    assert keys == {(templates.partition("stored", number % 200), f"TURN#{number:012d}") for number in numbers}


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.parametrize(
    ("operation", "bodies"),
    [
        ("PutItem", templates.put_item("run")),
        ("Query", templates.query("run")),
        ("TransactWriteItems", templates.transact_write_items("run")),
    ],
)
def test_wrk_sends_the_same_requests(operation: str, bodies: list[templates.Body]) -> None:
    written = [templates.template(SYSTEM, operation, body) for body in bodies]
    # It takes the first to try its script with.
    expected = b"".join(itertools.islice(templates.filled(written), 1, 301))
    with socket.create_server(("127.0.0.1", 0)) as server:
        received = bytearray()
        answering = threading.Thread(target=_answer, args=(server, received), daemon=True)
        answering.start()
        driven = drive(System("here", *server.getsockname()), written, connections=1, seconds=1)
        answering.join(BOUND_S)
    assert driven.answers >= 300
    assert driven.faults == []
    assert bytes(received[: len(expected)]) == expected


def _answer(server: socket.socket, received: bytearray) -> None:
    """Answer one connection's requests, each with the end of its body; wrk sends one at a time."""
    # wrk tries the address with a connection of its own first.
    for _ in range(2):
        connection, _ = server.accept()
        # Its time up, it breaks off with a request under way.
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(1 << 20):
                received += data
                if received.endswith(b"}"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_a_compared_figure_shows_the_ratio_to_the_fastest_other() -> None:
    figure = Figure("Answers a second", "ours")
    for system, values in {"ours": {"Put": 300.0, "Get": 40.0}, "one": {"Put": 100.0}, "other": {"Put": 150.0}}.items():
        figure.add(system, values)
    assert table(figure).splitlines()[2:] == [
        "       ours  one  other  ours / fastest peer",
        "  Put   300  100    150  2.00",
        "  Get    40    -      -  -",
    ]
    assert figure.as_json()["ratios"] == {"Put": 2.0, "Get": None}


def test_the_measures_of_a_summary_are_those_of_its_words() -> None:
    window = [
        Turn(1, "customer", "hi there! Have you read Berserk? I have 12 volumes of it"),
        Turn(2, "assistant", "no. what is your favourite volume"),
    ]
    assert summaries.questions_of(window) == ["Have you read Berserk?"]
    assert summaries.named_in(window) == {"Berserk", "12"}
    assert summaries.covered("Have you read Berserk?", "They read Berserk together")
    assert not summaries.covered("Have you read Berserk?", "Somebody reads a book")
    assert summaries.redundancy("a red cat runs, a red cat sleeps") == pytest.approx(1 / 5)
    values = summaries.scores([window], ["read Berserk"])
    assert (values["questions %"], values["named things %"], values["redundancy %"]) == (100, 50, 0)


def test_the_extractive_summary_beats_lines_of_the_same_length() -> None:
    windows = summaries.windows(30)
    extracts = [summaries.quoted(ExtractiveSummarizer().summarize(window, None).text) for window in windows]
    first = [text[: len(extract)] for text, extract in zip(map(_text, windows), extracts, strict=True)]
    ours, theirs = summaries.scores(windows, extracts), summaries.scores(windows, first)
    assert ours["questions %"] > theirs["questions %"] + 20
    assert ours["named things %"] > theirs["named things %"] + 20
    assert ours["redundancy %"] <= theirs["redundancy %"]


def _text(window: Sequence[Turn]) -> str:
    return "\n".join(turn.text for turn in window)


def test_inventory_s_requests_never_take_what_is_not_there() -> None:
    requests = inventory.recorded(400)
    assert sum(b"sale-" in body for each in requests.values() for _, body, _ in each) == 400
    longest, *_, shortest = requests.values()
    assert len(longest) > len(shortest)
    left: dict[str, int] = {}
    for product, each in requests.items():
        for _, body, _ in each:
            (item,) = json.loads(body)["TransactItems"]
            if "Put" in item:
                left[product] = int(item["Put"]["Item"]["quantity"]["N"])
                continue
            update = item["Update"]
            units = int(update["ExpressionAttributeValues"][":units"]["N"])
            left[product] += units if "+ :units" in update["UpdateExpression"] else -units
            assert left[product] >= 0
