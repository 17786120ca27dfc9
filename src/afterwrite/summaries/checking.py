"""Whether a model's answer may stand as a summary. Pure, and suspicious: what is refused costs a better summary only.

No check can tell every injection from every summary. What these hold: an answer of the right length, language and
form, that leaks nothing of the prompt, names no address or number that nobody gave, speaks about the conversation, and
neither repeats an instruction to a model nor says what such an instruction wants said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from afterwrite.summaries import languages
from afterwrite.summaries.port import Summary, Turn
from afterwrite.summaries.prompts import Prompt, visible

Reason: TypeAlias = Literal[
    "empty", "short", "long", "refusal", "markup", "leak", "instruction", "obeyed", "address", "number", "language",
    "ungrounded",
]  # fmt: skip

_WORDS_MIN: Final = 3
_LEAKED_WORDS: Final = 8
_GROUNDED_SHARE_MIN: Final = 0.35
_STEM_CHARACTERS: Final = 4
_COUNT_MAX: Final = 10
_PAYLOAD_LETTERS_MIN: Final = 3
_FROM_ONE_TURN_MAX: Final = 0.6

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_PREFACE: Final = re.compile(
    r"\A(?:sure[,.!]?\s*)?(?:here (?:is|are|'s)[^\n:]{0,80}:\s*|(?:\*\*)?(?:summary|notes)(?:\*\*)?\s*:\s*)",
    re.IGNORECASE,
)
_REFUSAL: Final = re.compile(
    r"\A\W*(?:i['\u2019]?m sorry|sorry[,.]|i apologi[sz]e|i can(?:not|['\u2019]t)|i am (?:unable|not able)|"
    r"i['\u2019]?m (?:unable|not able)|as an? (?:ai|(?:large )?language model)|unfortunately,? i)\b",
    re.IGNORECASE,
)
_MARKUP: Final = re.compile(
    r"</?[a-z!][^>\n]{0,200}>|<\||\|>|```|!?\[[^\]\n]*\]\(|\[/?inst\]|^#{1,6}\s", re.IGNORECASE | re.M
)
_INSTRUCTION: Final = re.compile(
    r"\b(?:ignor(?:e|ing|ed)|disregard(?:ed|ing)?|forget|overrid(?:e|ing)|bypass)\b[^.\n]{0,60}"
    r"\b(?:instructions?|prompts?|rules?|directions?|guidelines?|guardrails?|restrictions?)\b"
    r"|\b(?:system|developer|hidden|secret|initial)[ -](?:prompt|message|instructions?)\b"
    r"|\b(?:new|updated|real|actual|important) (?:instructions?|task|system message)\s*:"
    r"|\byou (?:are|will|must) now (?:be |act |answer |reply |an? )|\bfrom now on,? you\b|\byour (?:new|real) task\b"
    r"|\b(?:reveal|repeat|print|show|leak|output)\b[^.\n]{0,40}"
    r"\b(?:prompt|instructions?|everything above|words above)\b"
    r"|\b(?:jailbreak|developer mode|do anything now|admin(?:istrator)? mode|sudo mode)\b"
    r"|\b(?:note|message|instructions?|attention)\b[^.\n]{0,12}\b(?:to|for)\b[^.\n]{0,12}\b(?:the )?"
    r"(?:ai|model|llm|summari[sz]er|language model)\b"
    r"|\bas (?:an? )?(?:ai|language model|summari[sz]er)\b[^.\n]{0,40}\b(?:must|should|will|have to)\b"
    r"|\b(?:summari[sz]er|language model|chatbot|llm)\s*[:,]\s*\w"
    r"|\b(?:when|if|before|after) (?:you )?(?:summari[sz]\w+|writ\w+ (?:the|your|a) (?:summary|notes))"
    r"|<\|?/?(?:system|assistant|user|im_start|im_end|instructions?)\b|\[/?INST\]|^\s*(?:system|assistant)\s*:\s"
    r"|\bignor\w+ (?:todas |toutes |alle )?(?:las |les |die |le )?(?:instruc\w+|anweisung\w*|istruzioni|consignes)"
    r"|\bvergiss\b[^.\n]{0,40}\banweisung\w*|\boublie\w*\b[^.\n]{0,40}\b(?:instructions|consignes)"
    r"|(?:指示|命令|プロンプト)[^\u3002\n]{0,12}(?:無視|忘れ)|(?:忽略|无视|忘记)[^\u3002\n]{0,16}(?:指示|指令|提示|命令)",
    re.IGNORECASE | re.MULTILINE,
)
_COMMAND: Final = re.compile(
    r"\b(?:say|reply|respond|answer|write|output|print|include|add|append|insert|begin|start|end|finish|state|mention|"
    r"claim|conclude|report|put|tell)\w*\b(?:[^.\n\"\u201c\u2018'\u00ab`:]{0,60}?)"
    r"(?:[\"\u201c\u2018'\u00ab`](?P<quoted>[^\"\u201d\u2019'\u00bb`\n]{3,200})[\"\u201d\u2019'\u00bb`]"
    r"|(?:\bthat|\bonly|\bexactly|\bwith|:)\s+(?P<plain>[^.!?\n\"\u201c]{3,200}))",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(
    '["\u201c\u201e\u00ab\u300c\u300e]([^"\u201c\u201d\u00bb\u300d\u300f\\n]{1,200})["\u201c\u201d\u00bb\u300d\u300f]'
)
_ADDRESS: Final = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,10}://\S+|\bwww\.\S+|\bmailto:\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\b(?:[a-z0-9-]+\.)+(?:com|net|org|io|co|dev|app|info|biz|ru|cn|me|ly|xyz|top|site|shop|link|click|example|test)\b"
    r"(?:/\S*)?|(?<![\w@])@[a-z0-9_]{3,}",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"\d(?:[\d.,:/\u202f\u00a0' -]*\d)?")
# Words in which one speaks about a conversation, whatever it is about.
_REPORTING_STEMS: Final = """
    abou agen agre aske asks assi befo both chat conc conf conv cust dete disc did does each enjo expl feel firs foll
    have info last late like ment need neit next note noti offe open othe pers plan prom prov ques reco reme repl requ
    resp said says seve shar sinc some spea stat sugg summ talk tell that thei them then ther they thin this thou told
    topi turn unan unre user want were what when wher whet whic whil will with woul
"""
_REPORTING: Final = frozenset(_REPORTING_STEMS.split())


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a summary may be, and the most tokens that a model is let write."""

    characters_max: int = 1_000
    sentences_max: int = 6
    answer_tokens_max: int = 400


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an answer is not taken: a reason of a closed set, and words that quote neither answer nor conversation."""

    reason: Reason
    words: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.words}"


def cleaned(answer: str) -> str:
    """The answer without the space around it and without a preface such as `Summary:`."""
    return _PREFACE.sub("", visible(answer).strip()).strip()


def fault_in(
    answer: str, turns: Sequence[Turn], previous: Summary | None, prompt: Prompt, limits: Limits
) -> Fault | None:
    """Why the cleaned answer may not stand as the summary of `turns`, None where it may."""
    return next(_faults(answer, turns, previous, prompt, limits), None)


def _faults(
    answer: str, turns: Sequence[Turn], previous: Summary | None, prompt: Prompt, limits: Limits
) -> Iterator[Fault]:
    said = "\n".join([turn.text for turn in turns] + _before(previous))
    if not answer:
        yield Fault("empty", "expected a summary, got nothing")
        return
    if len(languages.terms(answer)) < _WORDS_MIN:
        yield Fault("short", f"expected at least {_WORDS_MIN} words, got {len(answer)} characters")
    if len(answer) > limits.characters_max:
        yield Fault("long", f"expected at most {limits.characters_max} characters, got {len(answer)}")
    if _leaks(answer, prompt):
        yield Fault("leak", "expected nothing of the prompt, got a part of it")
    if _REFUSAL.search(answer):
        yield Fault("refusal", "expected a summary, got an apology or a refusal")
    if _MARKUP.search(answer):
        yield Fault("markup", "expected plain text, got markup")
    if _INSTRUCTION.search(answer):
        yield Fault("instruction", "expected words about the conversation, got an instruction to a model")
    if _obeys(answer, turns):
        yield Fault("obeyed", "expected a summary, got what a turn wants a model to say")
    if foreign := _foreign_addresses(answer, said):
        yield Fault("address", f"expected addresses of the conversation only, got {foreign} that nobody gave")
    if foreign := _foreign_numbers(answer, said, turns):
        yield Fault("number", f"expected numbers of the conversation only, got {foreign} that nobody said")
    if (language := languages.difference(said, answer)) is not None:
        yield Fault("language", language)
    share = _grounded_share(answer, said)
    if share < _GROUNDED_SHARE_MIN:
        yield Fault("ungrounded", f"expected words of the conversation, got {share:.0%} of them")


def _before(previous: Summary | None) -> list[str]:
    return [] if previous is None else [previous.text, *(question.text for question in previous.open_questions)]


def _leaks(answer: str, prompt: Prompt) -> bool:
    letters = "".join(c for c in answer.casefold() if c.isalnum())
    # Spelled out or interspersed they are the same marks.
    for mark in (prompt.fence, prompt.canary):
        if mark.rpartition("-")[2] in letters:
            return True
    runs = _runs(prompt.system)
    return any(run in runs for run in _runs(answer))


def _runs(text: str) -> set[tuple[str, ...]]:
    words = [word.casefold() for word in _WORD.findall(text)]
    return {tuple(words[i : i + _LEAKED_WORDS]) for i in range(len(words) - _LEAKED_WORDS + 1)}


def _obeys(answer: str, turns: Sequence[Turn]) -> bool:
    """Whether a turn that instructs a model has got what it wants, or is most of what the answer is about."""
    plain = _plain(answer)
    instructing = [turn for turn in turns if _INSTRUCTION.search(visible(turn.text))]
    for turn in turns:
        for payload in _payloads(visible(turn.text), instructing=turn in instructing):
            if sum(c.isalnum() for c in payload) >= _PAYLOAD_LETTERS_MIN and f" {payload} " in f" {plain} ":
                return True
    terms = set(languages.terms(answer))
    for turn in instructing:
        others = set(languages.terms("\n".join(t.text for t in turns if t not in instructing)))
        if terms and len(terms & set(languages.terms(turn.text)) - others) / len(terms) > _FROM_ONE_TURN_MAX:
            return True
    return False


def _payloads(text: str, *, instructing: bool) -> Iterator[str]:
    """What the text wants said: quoted after a verb of saying, and where it instructs a model, in any words."""
    for command in _COMMAND.finditer(text):
        yield _plain(command["quoted"] or (command["plain"] if instructing else "") or "")
    if instructing:
        yield from (_plain(quoted[1]) for quoted in _QUOTED.finditer(text))


def _plain(text: str) -> str:
    return " ".join(word.casefold().replace("\u2019", "'") for word in _WORD.findall(text))


def _foreign_addresses(answer: str, said: str) -> int:
    known = said.casefold()
    found = (match[0].rstrip(".,;:!?)]}'\"\u201d").casefold() for match in _ADDRESS.finditer(answer))
    return sum(address not in known for address in found)


def _foreign_numbers(answer: str, said: str, turns: Sequence[Turn]) -> int:
    known = {_digits(match[0]) for match in _NUMBER.finditer(said)}
    known |= {part for match in _NUMBER.finditer(said) for part in re.findall(r"\d+", match[0])}
    known |= {str(turn.number) for turn in turns}
    foreign = (
        number
        for number in map(_digits, (match[0] for match in _NUMBER.finditer(answer)))
        if number not in known and not (len(number) <= 2 and int(number) <= _COUNT_MAX)
    )
    return sum(1 for _ in foreign)


def _digits(number: str) -> str:
    return "".join(c for c in number if c.isdigit())


def _grounded_share(answer: str, said: str) -> float:
    """Of the answer's words those that somebody said, by how they begin; words of reporting aside."""
    known = {term[:_STEM_CHARACTERS] for term in languages.terms(said)}
    counted = [stem for term in languages.terms(answer) if (stem := term[:_STEM_CHARACTERS]) not in _REPORTING]
    return sum(stem in known for stem in counted) / len(counted) if counted else 0.0
