"""Turns of a conversation: roles, text parts, and joined neighbours, for files and chat.

Neither torch nor most of the trainer is imported here: the service reads chat messages by the same
rules.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from flant5_train.protocol.failure import encodable

JOINT = "\n\n"
"""Separator between the texts of joined neighbours, as in mistral-common."""
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
"""All accepted role names, in any letter case."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Text of one speaker, up to the next speaker's."""

    role: Role
    text: str
    is_trained: bool = True
    """False for an answer that is only context: weight 0 and its alternatives."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns of one record: an optional system turn first, and no neighbours of one role."""

    turns: tuple[Turn, ...]


def shown(name: str) -> str:
    """Returns a name for display in errors: encodable, at most 60 characters."""
    return encodable(name)[:_MAX_SHOWN]


class ContentError(ValueError):
    """Content that is not text."""

    def __init__(self, found: str) -> None:
        super().__init__(f"found {found}; expected {_PARTS}")
        self.found = found
        self.expected = _PARTS


def text_of(content: str | list[object]) -> str:
    """Returns the text of a message's content: a string, or a list of text parts.

    text_of([{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]) -> "Hi!"

    Null fields of a part count as absent: files exported from columns have them.
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
    raise ContentError(f"a part {number} that is not text{of_type}")


def joined(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Yields the turns, with neighbours of one role joined by an empty line.

    [user "Hi", user "Is anybody there?"] -> [user "Hi\\n\\nIs anybody there?"]

    Skips blank texts when joining. Neighbours must also have the same `is_trained`.
    """
    for (role, is_trained), group in groupby(turns, key=lambda turn: (turn.role, turn.is_trained)):
        yield Turn(role, _joined_text([turn.text for turn in group]), is_trained)


def _joined_text(texts: Iterable[str]) -> str:
    first, *rest = texts
    if not rest:
        return first
    return JOINT.join(text for text in (first, *rest) if text.strip()) or first
