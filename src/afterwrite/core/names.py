"""Names of what an app declares: by them it is meant, and shown in messages."""

from __future__ import annotations

from typing import Protocol


class Named(Protocol):
    """Anything with a name, such as a declared table."""

    @property
    def name(self) -> str:
        """The name."""
        ...


class ShownByName:
    """What messages show by its kind and its name."""

    name: str

    def __repr__(self) -> str:
        """Its kind and name: `Queue('mail')`."""
        return f"{type(self).__name__}({self.name!r})"


def name_of(named: Named | str) -> str:
    """The name of what has one, or the name itself."""
    return named if isinstance(named, str) else named.name
