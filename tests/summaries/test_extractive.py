"""The offline summarizer quotes, and quotes truly."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.summaries.extractive import (
    OPEN_QUESTIONS_MAX,
    QUOTE_CHARACTERS_MAX,
    QUOTES_MAX,
    TURN_CHARACTERS_MAX,
    ExtractiveSummarizer,
)
from afterwrite.summaries.port import Summary, Turn
from manga_assist.conversations import load

SUMMARIZER = ExtractiveSummarizer()
QUOTE = re.compile("Turn ([0-9]+), (customer|assistant): \u201c(.*?)\u201d", re.DOTALL)


def turns(*texts: str, first: int = 1) -> list[Turn]:
    return [
        Turn(number, "customer" if number % 2 else "assistant", text) for number, text in enumerate(texts, start=first)
    ]


def test_questions_and_commitments_come_before_small_talk() -> None:
    summary = SUMMARIZER.summarize(
        turns(
            "Hello there",
            "Good morning, how nice",
            "My parcel with the third volume never arrived. Can you send the parcel again?",
            "I'm sorry about the parcel. I'll send the third volume again today.",
            "Great",
            "Anything else",
            "No thanks",
            "Have a nice day",
            "You too",
            "Bye",
        ),
        None,
    )
    assert "Turn 3, customer: \u201cCan you send the parcel again?\u201d (a question)" in summary.text
    assert "Turn 4, assistant: \u201cI'll send the third volume again today.\u201d (a commitment)" in summary.text
    assert summary.text.startswith("Extractive summary of turns 1 to 10")
    assert summary.open_questions == ()


@pytest.mark.parametrize(
    ("text", "is_commitment"),
    [
        ("I'll send it", True),
        ("Of course we will look", True),
        ("I promise that it comes", True),
        ("We can do that", True),
        ("Let me see", True),
        ("Im really gonna ask", True),
        ("We are not going to keep it", True),
        ("I\u2019m going to call", True),
        ("Hi will be my first word", False),
        ("I willingly paid twice", False),
        ("Outlet me", False),
        ("We were going to Rome", False),
        ("I am going there", False),
    ],
)
def test_what_is_a_commitment(text: str, is_commitment: bool) -> None:
    summary = SUMMARIZER.summarize(turns(text), None)
    assert text in summary.text
    assert ("(a commitment)" in summary.text) == is_commitment


def test_a_question_without_reply_is_carried_into_the_next_window() -> None:
    first = SUMMARIZER.summarize(turns("Hi.", "Hello.", "Where is volume three of the series?"), None)
    assert first.open_questions == (Turn(3, "customer", "Where is volume three of the series?"),)
    assert "No reply yet to the questions of turn 3." in first.text

    second = SUMMARIZER.summarize(turns("It ships tomorrow.", "Thanks.", first=4), first)
    assert (
        "Asked before: Turn 3, customer: \u201cWhere is volume three of the series?\u201d"
        " - followed by: Turn 4, assistant: \u201cIt ships tomorrow.\u201d"
    ) in second.text
    assert second.open_questions == ()

    still = SUMMARIZER.summarize([Turn(4, "customer", "Hello? Anybody there?")], first)
    assert "(no reply yet)" in still.text
    assert still.open_questions[0] == first.open_questions[0]


def test_a_sentence_said_again_is_quoted_once() -> None:
    said = "The delivery of the blue volume is late because of the storm."
    other = "Refunds of the red edition take five working days."
    summary = SUMMARIZER.summarize(turns(said, other, said, said, said, said, said), None)
    assert summary.text.count(said) == 1
    assert other in summary.text


NAMES = ("ash", "birch", "cedar", "elm", "fir", "oak", "pine", "rowan", "yew", "lime")


def test_what_the_previous_summary_quotes_is_preferred_less() -> None:
    said = [f"Volume {name} ships from the warehouse." for name in NAMES]
    unprompted = SUMMARIZER.summarize(turns(*said), None)
    quoted = [sentence for sentence in said if sentence in unprompted.text]
    assert len(quoted) == QUOTES_MAX
    prompted = SUMMARIZER.summarize(turns(*said), Summary(quoted[0]))
    assert quoted[0] not in prompted.text


@pytest.mark.parametrize(
    "text",
    [
        "この漫画はいつ届きますか\uff1f東京に住んでいます。",
        "¿Cuándo llega mi pedido? Vivo en Sevilla.",
        "متى يصل طلبي؟ أسكن في القاهرة.",
    ],
    ids=["japanese", "spanish", "arabic"],
)
def test_other_languages_are_split_and_their_questions_found(text: str) -> None:
    summary = SUMMARIZER.summarize(turns(text), None)
    assert len(QUOTE.findall(summary.text)) == 2
    assert len(summary.open_questions) == 1


def test_emoji_and_empty_turns_are_no_trouble() -> None:
    summary = SUMMARIZER.summarize(turns("\U0001f44d", "", " \n ", "\U0001f44d\U0001f3fd\U0001f389", "..."), None)
    assert QUOTE.findall(summary.text)
    assert SUMMARIZER.summarize(turns("", ""), None) == Summary(
        "Extractive summary of turns 1 to 2, in the words of the conversation."
    )
    assert SUMMARIZER.summarize([], None) == Summary("Extractive summary of no turns.")


def test_very_long_turns_are_cut_and_the_summary_says_so() -> None:
    summary = SUMMARIZER.summarize(turns(*["word " * 100_000] * 10), None)
    assert f"first {TURN_CHARACTERS_MAX} characters" in summary.text
    assert len(summary.text) < (QUOTE_CHARACTERS_MAX + 60) * QUOTES_MAX + 300


texts = st.text(st.sampled_from("abc ?!.\n\u2019'\u201c\U0001f600\u3042\u3044\u3002\uff1f"), max_size=60)


@given(st.lists(texts, max_size=12), st.none() | st.builds(Summary, texts))
def test_every_quote_is_in_its_turn_word_for_word(said: list[str], previous: Summary | None) -> None:
    given_turns = turns(*said)
    summary = SUMMARIZER.summarize(given_turns, previous)
    assert summary == SUMMARIZER.summarize(given_turns, previous)
    lines = [line for line in summary.text.splitlines() if line.startswith("Turn ")]
    assert len(lines) <= QUOTES_MAX
    assert len(summary.open_questions) <= OPEN_QUESTIONS_MAX
    for line in lines:
        number, _, rest = line.removeprefix("Turn ").partition(", ")
        quote = rest[rest.index("\u201c") + 1 : rest.rindex("\u201d")]
        assert quote in given_turns[int(number) - 1].text
    for question in summary.open_questions:
        assert question.text in given_turns[question.number - 1].text


def test_ten_real_turns_take_a_few_milliseconds() -> None:
    windows = [
        [Turn(n + 1, turn.role, turn.text) for n, turn in enumerate(conversation.turns[:10])]
        for conversation in load(10, 100)
    ]
    fastest_s = float("inf")
    for _ in range(5):
        began = time.thread_time()
        for window in windows:
            SUMMARIZER.summarize(window, None)
        fastest_s = min(fastest_s, (time.thread_time() - began) / len(windows))
    assert fastest_s < 0.02
