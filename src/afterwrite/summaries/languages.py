"""Words, and the language they are in, as far as it can be told without a dictionary. Pure.

The script tells most languages apart; those written in Latin letters are told by their commonest words.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
# Thai, Lao, Burmese, Khmer, kana and the ideographs are written without spaces.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_COMMON_WORDS: Final = """
    a about all also am an and any are as at be been but by can could did do does for from had has have he her him
    his how i i'm if in is it it's its just like me my no not of oh ok okay on or our she so some than that that's the
    their them then there they this to too up us was we were what when where which who why will with would yeah yes
    you you're your
"""
COMMON: Final = frozenset(_COMMON_WORDS.split())
"""Words of English that say nothing about a sentence's subject."""

_MARKED: Final = """
    English: the and is was are were of to that for with this they he she it what about not have has
    Spanish: el la los las de que y en un una es por con para su se lo como pero qué está muy
    French: le la les des et est que qui dans pour une un sur pas avec vous je il elle sont ce du
    German: der die das und ist nicht ein eine zu den mit von sich auf für ich sie er wir im dem
    Portuguese: o os as que e em um uma é por com para não se do da dos das foi você está
    Italian: il lo gli che e di un una è per con non si del della sono ho mi anche questo
    Dutch: de het een en is niet van ik je dat op te zijn met voor aan er maar ook heeft
"""
_MARKERS: Final = {
    language.strip(): frozenset(words.split())
    for language, _, words in (line.partition(":") for line in _MARKED.strip().splitlines())
}
_LETTERS_MIN: Final = 20
_MARKERS_MIN: Final = 5
_LEAD: Final = 2.0
_DOMINANT_SHARE: Final = 0.7
_KANA_SHARE_MIN: Final = 0.1
_IDEOGRAPHS: Final = frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"})


def plain(text: str) -> str:
    """The text casefolded, with one kind of apostrophe."""
    return text.casefold().replace("\u2019", "'")


def terms(text: str) -> tuple[str, ...]:
    """The words that carry meaning, casefolded; of scripts without spaces pairs of characters stand in for words."""
    return plain_terms(plain(text))


def plain_terms(text: str) -> tuple[str, ...]:
    """The same of a text that is plain already."""
    words = _WORD.findall(text)
    if not text.isascii() and _UNSPACED.search(text):
        return tuple(_pieces(words))
    return tuple([word for word in words if word not in COMMON])


def _pieces(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if _UNSPACED.search(word):
            yield from (word[i : i + 2] for i in range(max(len(word) - 1, 1)))
        elif word not in COMMON:
            yield word


def difference(asked: str, answered: str) -> str | None:
    """Why the answer is in another language than what it is about, None where it is not or cannot be told."""
    expected, found = _script(asked), _script(answered)
    if expected is None or found is None:
        return None
    if expected != found:
        return f"expected {expected.capitalize()} letters, got {found.capitalize()} ones"
    if expected == "CJK":
        return None if _has_kana(asked) == _has_kana(answered) else "expected or got Japanese where the other is not"
    if expected != "LATIN":
        return None
    told, heard = _by_markers(asked), _by_markers(answered)
    if told is None or heard is None or told == heard:
        return None
    return f"expected {told}, got {heard}"


def _script(text: str) -> str | None:
    counts = Counter(_script_of(c) for c in text if c.isalpha())
    total = sum(counts.values())
    if total < (_LETTERS_MIN if not counts["CJK"] else _LETTERS_MIN // 4):
        return None
    script, count = counts.most_common(1)[0]
    return script if count / total >= _DOMINANT_SHARE else None


@functools.lru_cache(maxsize=4096)
def _script_of(character: str) -> str:
    script = unicodedata.name(character, "UNKNOWN").partition(" ")[0]
    return "CJK" if script in _IDEOGRAPHS else script


def _has_kana(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return sum("\u3040" <= c <= "\u30ff" for c in letters) >= _KANA_SHARE_MIN * len(letters)


def _by_markers(text: str) -> str | None:
    words = Counter(word.casefold() for word in _WORD.findall(text))
    hits = {language: sum(words[marker] for marker in markers) for language, markers in _MARKERS.items()}
    (first, most), (_, second) = sorted(hits.items(), key=lambda pair: -pair[1])[:2]
    return first if most >= _MARKERS_MIN and most >= _LEAD * second else None
