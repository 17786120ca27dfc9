"""What summaries hold of real conversations: questions and named things, how often they repeat, how long they are.

The windows are the first ten turns of each of 200 conversations. Baselines choose lines of the same windows until they
have as many characters as the extractive summary quotes, so that nobody wins by length: the first lines, the last ones,
lines at random. Measured is the text that a reader gets; a sentence that is quoted counts without its turn and role.
"""

from __future__ import annotations

import itertools
import random
import re
import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.report import Figure

from afterwrite.summaries import ExtractiveSummarizer, Turn
from afterwrite.summaries.languages import COMMON, terms
from manga_assist import conversations

CONVERSATIONS = 200
WINDOW = 10
ROUNDS = 3
COVERED_SHARE_MIN = 0.6
EXTRACTIVE = "afterwrite, extractive"

_SENTENCE = re.compile(r"(?<=[.!?\u2026])\s+|\s*\n\s*")
_QUOTE = re.compile(r"\u201c(.*?)\u201d", re.DOTALL)
_NAME = re.compile(r"(?<![.!?\u2026\n])(?<=[\w,;:'\")] )[A-Z][\w'\u2019-]+(?: [A-Z][\w'\u2019-]+)*|\b\d[\d.,:/]*\b")

Windows = Sequence[Sequence[Turn]]


def measure(_seconds: float) -> Figure:
    """Every way of summarizing over the same windows; what is at random is drawn anew each round."""
    figure = Figure(f"Summaries of ten turns, {CONVERSATIONS} conversations")
    chosen = windows(CONVERSATIONS)
    summarizer = ExtractiveSummarizer()
    extracts = [quoted(summarizer.summarize(window, None).text) for window in chosen]
    lengths = [len(text) for text in extracts]
    for seed in range(ROUNDS):
        generator = random.Random(seed)
        figure.add(EXTRACTIVE, scores(chosen, extracts))
        ways: dict[str, Callable[[list[str]], list[str]]] = {
            "first lines": lambda lines: lines,
            "last lines": lambda lines: lines[::-1],
            "random lines": lambda lines, generator=generator: generator.sample(lines, len(lines)),  # type: ignore[misc]
        }
        for name, order in ways.items():
            texts = [_filled(order(_lines(window)), limit) for window, limit in zip(chosen, lengths, strict=True)]
            figure.add(name, scores(chosen, texts))
    return figure


def windows(count: int) -> Windows:
    """The first ten turns of each conversation."""
    return [
        [Turn(number, turn.role, turn.text) for number, turn in enumerate(conversation.turns[:WINDOW], start=1)]
        for conversation in conversations.load(WINDOW, count)
    ]


def scores(chosen: Windows, texts: Sequence[str]) -> Mapping[str, float]:
    """The measures, in percent but for the length."""
    pairs = list(zip(chosen, texts, strict=True))
    questions = [covered(question, text) for window, text in pairs for question in questions_of(window)]
    named = [name.casefold() in text.casefold() for window, text in pairs for name in named_in(window)]
    return {
        "questions %": 100 * statistics.mean(questions),
        "named things %": 100 * statistics.mean(named),
        "redundancy %": 100 * statistics.mean(redundancy(text) for text in texts),
        "characters": statistics.mean(map(len, texts)),
        "of the window %": 100
        * statistics.mean(len(text) / sum(len(turn.text) for turn in window) for window, text in pairs),
    }


def questions_of(window: Sequence[Turn]) -> list[str]:
    """The questions that have words of their own."""
    lines = [line for turn in window for line in _SENTENCE.split(turn.text)]
    return [line for line in lines if line.strip().endswith("?") and terms(line)]


def named_in(window: Sequence[Turn]) -> set[str]:
    """Numbers, and words with a capital letter that does not come from beginning a sentence."""
    found = (name for turn in window for name in _NAME.findall(turn.text))
    return {name for name in found if name.casefold() not in COMMON and name[:2] not in ("I'", "I\u2019")}


def covered(question: str, text: str) -> bool:
    """Whether the text has most of the question's words."""
    asked, said = set(terms(question)), set(terms(text))
    return len(asked & said) >= COVERED_SHARE_MIN * len(asked)


def redundancy(text: str) -> float:
    """Of the pairs of words in a row those that came before."""
    words = terms(text)
    pairs = list(itertools.pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def quoted(text: str) -> str:
    """What an extractive summary quotes, a line a quote."""
    return "\n".join(_QUOTE.findall(text))


def _lines(window: Sequence[Turn]) -> list[str]:
    return [line for turn in window for line in _SENTENCE.split(turn.text) if line.strip()]


def _filled(lines: Sequence[str], limit: int) -> str:
    taken: list[str] = []
    for line in lines:
        if sum(map(len, taken)) + len(taken) >= limit:
            break
        taken.append(line)
    return "\n".join(taken)[:limit]
