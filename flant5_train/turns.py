"""Turns of a conversation: roles, text in parts, and equal neighbours, for files and chat alike.

Neither torch nor the trainer's other modules are imported here: the service reads chat messages by
the same rules.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from flant5_train.failure import encodable

JOINT = "\n\n"
"""Between the texts of equal neighbours, as mistral-common joins them."""
_MAX_SHOWN = 60
_PARTS = 'a string, or parts like {"type": "text", "text": "..."}'


class Role(StrEnum):
    """The speaker of a turn."""

    SYSTEM = "system"
    HUMAN = "human"
    GPT = "gpt"


ROLES: Mapping[str, Role] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "human": Role.HUMAN,
    "user": Role.HUMAN,
    "gpt": Role.GPT,
    "assistant": Role.GPT,
    "chatgpt": Role.GPT,
    "bing": Role.GPT,
    "bard": Role.GPT,
}
"""Every name of a role that is understood, in any letter case."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The text of one speaker, up to the next speaker's."""

    role: Role
    text: str
    is_trained: bool = True
    """False for an answer that is only context: weight 0 and its other spellings."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of one record: a system turn first if at all, no equal neighbours."""

    turns: tuple[Turn, ...]


def shown(name: str) -> str:
    """Returns a name out of a file or a request as errors show it: encodable, 60 characters."""
    return encodable(name)[:_MAX_SHOWN]


class ContentError(ValueError):
    """Content that is no text."""

    def __init__(self, found: str) -> None:
        super().__init__(f"found {found}; expected {_PARTS}")
        self.found = found
        self.expected = _PARTS


def text_of(content: str | list[object]) -> str:
    """Returns the text of a message's content: a string, or a list of text parts.

    text_of([{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]) -> "Hi!"

    Fields of a part that are null count as absent: files that were exported from columns have them.
    Raises ContentError for any other part.
    """
    if isinstance(content, str):
        return content
    return "".join(_text_of_part(part, number) for number, part in enumerate(content))


def _text_of_part(part: object, number: int) -> str:
    if isinstance(part, dict):
        given = {name: value for name, value in part.items() if value is not None}
        text = given.get("text")
        if given.keys() == {"type", "text"} and given["type"] == "text" and isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, dict) else None
    of_type = f" of the type '{shown(kind)}'" if isinstance(kind, str) and kind != "text" else ""
    raise ContentError(f"a part {number} that is no text{of_type}")


def joined(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Yields the turns with equal neighbours as one, their texts joined by an empty line.

    [user "Hi", user "Is anybody there?"] -> [user "Hi\\n\\nIs anybody there?"]

    Blank texts are left out of a joined one. Neighbours have to be equal in `is_trained` too.
    """
    for (role, is_trained), group in groupby(turns, key=lambda turn: (turn.role, turn.is_trained)):
        yield Turn(role, _joined_text([turn.text for turn in group]), is_trained)


def _joined_text(texts: Iterable[str]) -> str:
    first, *rest = texts
    if not rest:
        return first
    return JOINT.join(text for text in (first, *rest) if text.strip()) or first
