"""The data set as chats of a customer and an assistant."""

from __future__ import annotations

from itertools import pairwise

from manga_assist import conversations


def test_the_demonstration_has_enough_and_always_the_same() -> None:
    chosen = conversations.load(10, 520)
    assert len(chosen) == 520
    assert sum(len(c.turns) for c in chosen) >= 15_000
    assert len({c.id for c in chosen}) == 520
    assert conversations.load(10, 5) == chosen[:5]


def test_a_conversation_has_two_people_who_take_turns() -> None:
    for conversation in conversations.load(10, 200):
        roles = [turn.role for turn in conversation.turns]
        assert roles[:2] == ["customer", "assistant"]
        assert all(a != b for a, b in pairwise(roles))
        assert len({(turn.role, turn.sender) for turn in conversation.turns}) == 2
        times = [turn.at_ms for turn in conversation.turns]
        assert times == sorted(times)
        assert 1_500_000_000_000 < times[0] < 1_600_000_000_000


def test_messages_in_a_row_are_one_turn() -> None:
    turn = next(t for c in conversations.load(10, 50) for t in c.turns if "\n" in t.text)
    assert all(line for line in turn.text.split("\n"))
