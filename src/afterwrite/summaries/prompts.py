"""Prompts: a template that is a file, filled with a conversation that stays data.

The turns go into the prompt as JSON, one a line, between two lines that nobody can write into the conversation: the
fence is a digest of the text that it encloses. The canary is another one, which the model is told never to say.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import orjson

from afterwrite.errors import DeclarationError
from afterwrite.summaries.port import Summary, Turn

TURN_CHARACTERS_MAX: Final = 4_000
"""How much of a turn the model is given."""

_PARTS: Final = re.compile(r"\A\s*\[system\]\s*\n(?P<system>.*?)\n\[user\]\s*\n(?P<user>.*)\Z", re.DOTALL)
_PLACEHOLDERS: Final = frozenset({"canary", "characters", "context", "conversation", "fence", "sentences"})
_NEEDED: Final = {"system": ("fence", "canary"), "user": ("fence", "conversation")}
# Letters that are seen by models only, and marks that turn the order of writing: a way to hide instructions.
_UNSEEN: Final = frozenset(("Cf", "Cc", "Co", "Cs"))
# Emoji and the scripts of India and Iran are written with the two joiners.
_KEPT: Final = frozenset("\n\t\u200c\u200d")
_FENCE_BYTES: Final = 10


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked, and the marks by which a leak of it is known."""

    system: str
    text: str
    fence: str
    canary: str


class PromptTemplate:
    """A template of two parts, `[system]` and `[user]`, with the placeholders of `string.Template`.

    `$fence` and `$canary` (system), `$fence` and `$conversation` (user) have to be there; `$context` is what came
    before, `$sentences` and `$characters` are the limits of length. Raises DeclarationError.
    """

    def __init__(self, text: str, *, name: str = "the template") -> None:
        parts = _PARTS.match(text.replace("\r\n", "\n"))
        if parts is None:
            raise DeclarationError(f"expected {name} to have a part [system] and then a part [user]: see the default")
        found = {part: _placeholders(parts[part], name) for part in ("system", "user")}
        for part, needed in _NEEDED.items():
            missing = [f"${each}" for each in needed if each not in found[part]]
            if missing:
                raise DeclarationError(
                    f"expected {', '.join(missing)} in the part [{part}] of {name}: without them the conversation "
                    "cannot be told from what the model is asked"
                )
        unknown = (found["system"] | found["user"]) - _PLACEHOLDERS
        if unknown:
            raise DeclarationError(
                f"expected the placeholders {', '.join(sorted(_PLACEHOLDERS))} in {name}, got "
                f"{', '.join(sorted(unknown))}: write $$ for a dollar sign"
            )
        self.system_text = parts["system"].strip()
        self.user_text = parts["user"].strip()
        self._system, self._user = Template(self.system_text), Template(self.user_text)

    @classmethod
    def read(cls, path: Path) -> PromptTemplate:
        """The template in a file of UTF-8. Raises DeclarationError."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DeclarationError(f"expected a prompt template in {path}, which cannot be read: {error}") from None
        return cls(text, name=str(path))

    @classmethod
    def default(cls) -> PromptTemplate:
        """The template that afterwrite brings."""
        return cls((files("afterwrite.summaries") / "summary.prompt").read_text(encoding="utf-8"), name="the default")

    def fill(self, turns: Sequence[Turn], previous: Summary | None, *, sentences: int, characters: int) -> Prompt:
        """The prompt for the turns; the same for the same turns."""
        conversation = "\n".join(_line({"turn": t.number, "role": t.role, "text": _cut(t.text)}) for t in turns)
        context = "" if previous is None else _context(previous)
        fence, canary = (_mark(kind, context, conversation) for kind in ("fence", "canary"))
        values = {
            "fence": fence,
            "canary": canary,
            "sentences": str(sentences),
            "characters": str(characters),
            "conversation": conversation,
            "context": context,
        }
        return Prompt(self._system.substitute(values), self._user.substitute(values), fence, canary)


def visible(text: str) -> str:
    """The text without characters that are not seen: they may tell a model what no reader of the chat reads."""
    return "".join(c for c in text if c in _KEPT or unicodedata.category(c) not in _UNSEEN)


def _placeholders(text: str, name: str) -> set[str]:
    template = Template(text)
    if not template.is_valid():
        raise DeclarationError(f"expected every $ in {name} to begin a placeholder: write $$ for a dollar sign")
    return set(template.get_identifiers())


def _context(previous: Summary) -> str:
    earlier = _line({"notes_of_earlier_turns": _cut(previous.text)})
    asked = [
        _line({"open_question_of_turn": q.number, "role": q.role, "text": _cut(q.text)})
        for q in previous.open_questions
    ]
    return "\n".join([earlier, *asked])


def _cut(text: str) -> str:
    return visible(text[:TURN_CHARACTERS_MAX])


def _line(fields: Mapping[str, object]) -> str:
    # JSON keeps a turn on one line, so that nobody's words can pass for another turn.
    return orjson.dumps(fields).decode()


def _mark(kind: str, *texts: str) -> str:
    text = "\0".join((kind, *texts)).encode("utf-8", "surrogatepass")
    return f"{kind}-{hashlib.blake2b(text, digest_size=_FENCE_BYTES).hexdigest()}"
