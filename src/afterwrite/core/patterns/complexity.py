"""How many beginnings of a field's wildcards a text can be in the midst of at once, as EventBridge counts them (P8).

A wildcard's beginnings are what stands before each of its characters and stars, and the whole of it. A text matches
any number of them at once: `aab` matches the beginnings `*` and `*ab` of `*ab`, and `*`, `*a*` and `*a*b` of `*a*b`.
The service refuses a pattern for which some text would match more than ten.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

Wildcard = tuple[str, ...]
"""A wildcard as the literal stretches between its stars."""

_QUOTE = '"'


class _Machine:
    """The beginnings of wildcards as states; reading a text, it is in all those that the text so far matches.

    Up to a wildcard's first star, and with it, there is one way only to match a beginning: equal matchers share it.
    """

    def __init__(self) -> None:
        self.starts: set[int] = set()
        self._next: list[dict[int, list[int]]] = []
        self._star: list[int | None] = []
        self._stars: set[int] = set()
        self._heads: dict[tuple[Hashable, bytes], int] = {}

    def add(self, matcher: Hashable, head: bytes, others: Iterable[bytes]) -> None:
        at = self._head(matcher, head)
        for stretch in others:
            at = self._star_after(at)
            for byte in stretch:
                at = self._byte_after(at, byte)

    def counts(self, text: bytes) -> Iterator[int]:
        """How many beginnings each beginning of `text` matches."""
        at: set[int] = set()
        for start in self.starts:
            self._enter(at, start)
        yield len(at) - len(self.starts)
        for byte in text:
            following = at & self._stars
            for state in at:
                for reached in self._next[state].get(byte, ()):
                    self._enter(following, reached)
            at = following
            yield len(at)

    def _enter(self, at: set[int], state: int) -> None:
        at.add(state)
        star = self._star[state]
        if star is not None:
            at.add(star)

    def _state(self) -> int:
        self._next.append({})
        self._star.append(None)
        return len(self._next) - 1

    def _head(self, matcher: Hashable, head: bytes) -> int:
        at = self._heads.get((matcher, b""))
        if at is None:
            at = self._heads[matcher, b""] = self._state()
            self.starts.add(at)
        for length, byte in enumerate(head, 1):
            known = self._heads.get((matcher, head[:length]))
            if known is None:
                known = self._heads[matcher, head[:length]] = self._byte_after(at, byte)
            at = known
        return at

    def _byte_after(self, at: int, byte: int) -> int:
        reached = self._state()
        self._next[at].setdefault(byte, []).append(reached)
        return reached

    def _star_after(self, at: int) -> int:
        star = self._star[at]
        if star is None:
            star = self._star[at] = self._state()
            self._stars.add(star)
        return star


def quoted(stretches: Sequence[str]) -> Wildcard:
    """A wildcard with the quotes that a text has in JSON: they count as characters do."""
    first, *others = stretches
    if not others:
        return (f"{_QUOTE}{first}{_QUOTE}",)
    *middle, last = others
    return f"{_QUOTE}{first}", *middle, f"{last}{_QUOTE}"


def most_at_once(matchers: Iterable[Sequence[Wildcard]], enough: int) -> int:
    """The most beginnings that one text matches; counting ends at `enough`.

    `matchers` are one field's, each with its wildcards. Once a text is past a wildcard's head, its stars stay open,
    and whatever stands between two stars may come at any time. So for each head, some text begins with it and holds
    all stretches twice: the first time opens every star, and the second one passes the fullest place.
    """
    machine = _Machine()
    later: dict[bytes, list[bytes]] = {}
    for matcher in matchers:
        for wildcard in dict.fromkeys(matcher):
            head, *others = (stretch.encode("utf-8", "surrogatepass") for stretch in wildcard)
            machine.add(frozenset(matcher), head, others)
            later.setdefault(head, []).extend(others)
    most = 0
    for head in later:
        following = b"".join(stretch for length in range(len(head) + 1) for stretch in later.get(head[:length], ()))
        for count in machine.counts(head + following * 2):
            if count >= enough:
                return enough
            most = max(most, count)
    return most
