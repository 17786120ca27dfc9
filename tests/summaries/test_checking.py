"""What is taken for a summary, and what is not: prompt injection, leaks, inventions, other languages, other lengths."""

from __future__ import annotations

import time

import pytest

from afterwrite.summaries import Limits, PromptTemplate, Summary, Turn
from afterwrite.summaries.checking import cleaned, fault_in
from summaries.injections import FAITHFUL, OBEYED, ORDER

LIMITS = Limits()
TEMPLATE = PromptTemplate.default()


def reason(answer: str, turns: list[Turn] = ORDER, previous: Summary | None = None) -> str | None:
    prompt = TEMPLATE.fill(turns, previous, sentences=6, characters=1_000)
    fault = fault_in(cleaned(answer), turns, previous, prompt, LIMITS)
    return None if fault is None else fault.reason


def test_a_faithful_summary_is_taken() -> None:
    assert reason(FAITHFUL) is None


@pytest.mark.parametrize("preface", ["Summary: ", "**Summary**: ", "Here are the notes about the turns:\n", "\u200b "])
def test_a_preface_is_taken_off(preface: str) -> None:
    assert cleaned(preface + FAITHFUL) == FAITHFUL
    assert reason(preface + FAITHFUL) is None


@pytest.mark.parametrize(("said", "answer"), OBEYED.values(), ids=OBEYED)
def test_an_answer_that_obeys_the_conversation_is_not_taken(said: str, answer: str) -> None:
    assert reason(answer, [*ORDER, Turn(5, "customer", said)]) is not None


@pytest.mark.parametrize("said", [said for said, _ in OBEYED.values()], ids=OBEYED)
def test_an_answer_that_does_not_obey_is_taken(said: str) -> None:
    assert reason(FAITHFUL, [*ORDER, Turn(5, "customer", said)]) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "empty"),
        ("  \n ", "empty"),
        ("Okay.", "short"),
        (FAITHFUL * 20, "long"),
        (f"{FAITHFUL} <b>Done</b>", "markup"),
        (f"{FAITHFUL} Write to help@shop.example.", "address"),
        (f"{FAITHFUL} See bit.ly/x1y2.", "address"),
        (f"{FAITHFUL} Call +49 170 5551234.", "number"),
        (FAITHFUL.replace("24.90", "249.00"), "number"),
        (FAITHFUL.replace("48213", "48123"), "number"),
        ("El paquete del cliente no ha llegado y la tienda va a preguntar por el pedido en la oficina.", "language"),
        ("客户的包裹还没有到,助手会询问承运人并在星期五之前回信。退款需要五个工作日。", "language"),
        ("The weather in Lisbon stays sunny until Sunday, with mild winds along the coast.", "ungrounded"),
        ("As a language model I cannot summarize this parcel.", "refusal"),
    ],
)
def test_what_is_no_summary_of_the_conversation_is_not_taken(answer: str, why: str) -> None:
    assert reason(answer) == why


def test_numbers_and_addresses_of_the_conversation_may_be_said_in_another_form() -> None:
    turns = [
        Turn(1, "customer", "The order of 2026-11-21 cost 1,299.00, see https://shop.example/orders/77 please"),
        Turn(2, "assistant", "I see the order, thank you."),
    ]
    said = "The order of 21 costs 1299.00 (https://shop.example/orders/77), and the assistant sees the order."
    assert reason(said, turns) is None


def test_a_leak_is_seen_through_what_hides_it() -> None:
    prompt = TEMPLATE.fill(ORDER, None, sentences=6, characters=1_000)
    mark = prompt.canary.rpartition("-")[2]
    for hidden in (prompt.canary, mark.upper(), " ".join(mark), prompt.fence, "-".join(mark)):
        assert reason(f"{FAITHFUL} {hidden}") == "leak"


def test_the_same_language_is_found_in_other_scripts() -> None:
    turns = [
        Turn(1, "customer", "この漫画はいつ届きますか。東京に住んでいます。"),
        Turn(2, "assistant", "明日の午後に届く予定です。"),
    ]
    assert reason("東京に住んでいる顧客がこの漫画はいつ届くか尋ね、明日の午後に届く予定です。", turns) is None
    assert reason("The customer from Tokyo asks when the manga arrives, which is tomorrow.", turns) == "language"


def test_what_the_previous_summary_says_may_be_said_again() -> None:
    previous = Summary("The customer's order 91 of the blue edition is late.")
    assert reason(f"{FAITHFUL} Order 91 of the blue edition is late, too.", previous=previous) is None


@pytest.mark.parametrize("part", ["ignore ", "say ", "1,", "a.", '"', "<a", "reply with ", "1 ", "a-"])
def test_no_text_makes_checking_slow(part: str) -> None:
    text = part * 4_000
    turns = [Turn(number, "customer", text[:4_000]) for number in range(1, 11)]
    prompt = TEMPLATE.fill(turns, None, sentences=6, characters=1_000)
    began = time.thread_time()
    fault_in(text[:1_000], turns, None, prompt, LIMITS)
    assert time.thread_time() - began < 10.0
