from __future__ import annotations

from decimal import Decimal

import pytest

from afterwrite.cli.rendering import bytes_text, count_text, json_lines, print_table, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain", "plain"), ("ünï 漢", "ünï 漢"), ("a\x1b[31m\n\u202e", r"a\x1b[31m\n\u202e")],
)
def test_what_is_no_printable_character_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_columns_are_aligned_and_numbers_stand_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Queues", ["name", "waiting"], [("a", 5), ("longer", 1_234_567_890)])
    assert capsys.readouterr().out == "Queues\nname       waiting\na                5\nlonger  1234567890\n\n"
    print_table("Nothing", ["name"], [])
    assert capsys.readouterr().out == ""


def test_json_stands_on_as_few_lines_as_are_not_too_long() -> None:
    assert list(json_lines({"a": [1, Decimal("2.50")]})) == ['{"a":[1,2.50]}']
    long = "x" * 60
    assert list(json_lines({"a": {"b": long, "c": [long, {}]}, "d": []})) == [
        "{",
        '  "a": {',
        f'    "b": "{long}",',
        f'    "c": ["{long}",{{}}]',
        "  },",
        '  "d": []',
        "}",
    ]


def test_sizes_and_counts() -> None:
    assert [bytes_text(size) for size in (1023, 1536, 3 << 20)] == ["1023 B", "1.5 KiB", "3.0 MiB"]
    assert [count_text(count, "lane") for count in (0, 1, 2)] == ["0 lanes", "1 lane", "2 lanes"]
