"""Conversations: what a record of a file means, in ShareGPT or chat `messages` form.

    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}

The form is told by the record's own fields. A turn's role is one of `ROLES`; a system turn comes
first if at all; human and gpt alternate.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from flant5_train.config import OnBadRecord
from flant5_train.place import DataError, Place
from flant5_train.records import RawRecord, read_records


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    HUMAN = "human"
    GPT = "gpt"


ROLES: Mapping[str, Role] = {
    "system": Role.SYSTEM,
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
    """What one speaker says at once."""

    role: Role
    text: str
    is_trained: bool = True
    """False for an answer that only serves as context (`weight` 0 in chat form)."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of one record."""

    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    turns: str
    role: str
    text: str


_SHAREGPT = _Form("conversations", "from", "value")
_CHAT = _Form("messages", "role", "content")


@dataclass
class Conversations:
    """Iterates over what records mean; `skipped` counts the records left out, by reason.

    Raises DataError for the first malformed record under `OnBadRecord.FAIL`.
    """

    records: Iterable[RawRecord]
    on_bad_record: OnBadRecord = OnBadRecord.FAIL
    skipped: Counter[str] = field(default_factory=Counter)

    def left_out(self) -> Counter[str]:
        """The records skipped so far, as reasons that stand beside those of left-out turns."""
        return Counter({f"record: {reason}": n for reason, n in self.skipped.items()})

    def __iter__(self) -> Iterator[Conversation]:
        self.skipped.clear()
        for record in self.records:
            try:
                if record.error is not None:
                    raise record.error
                conversation = parse_conversation(record.value, place=record.place)
            except DataError as error:
                if self.on_bad_record is OnBadRecord.FAIL:
                    raise
                self.skipped[error.reason] += 1
            else:
                yield conversation


@dataclass(frozen=True, slots=True)
class _RecordsOf:
    path: Path

    def __iter__(self) -> Iterator[RawRecord]:
        return read_records(self.path)


class ConversationFile(Conversations):
    """The conversations of a file. Raises DataError also for a file that can't be read."""

    def __init__(self, path: Path, on_bad_record: OnBadRecord = OnBadRecord.FAIL) -> None:
        super().__init__(_RecordsOf(path), on_bad_record)


def parse_conversation(record: object, *, place: Place) -> Conversation:
    """The conversation that a JSON value means. Raises DataError with the place and the field."""
    if not isinstance(record, dict):
        raise DataError(
            f"{place}: found {_kind(record)}; expected an object with 'conversations' or"
            " 'messages'",
            reason="not an object",
        )
    form = next((form for form in (_SHAREGPT, _CHAT) if form.turns in record), None)
    if form is None:
        raise DataError(
            f"{place}: found the fields {_names(record)}; expected 'conversations' (ShareGPT) or"
            " 'messages' (chat)",
            reason="no conversation field",
        )
    turns = record[form.turns]
    if not isinstance(turns, list) or not turns:
        found = "an empty list" if turns == [] else _kind(turns)
        raise DataError(
            f"{place}: field '{form.turns}': found {found}; expected a list of turns",
            reason="no turns",
        )
    parsed = tuple(
        _parse_turn(turn, form=form, at=f"{place}: field '{form.turns}[{index}]")
        for index, turn in enumerate(turns)
    )
    _check_order(parsed, at=f"{place}: field '{form.turns}[")
    return Conversation(parsed)


def _parse_turn(turn: object, *, form: _Form, at: str) -> Turn:
    if not isinstance(turn, dict):
        raise DataError(
            f"{at}': found {_kind(turn)}; expected an object with '{form.role}' and '{form.text}'",
            reason="not a turn",
        )
    name = turn.get(form.role)
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise DataError(
            f"{at}.{form.role}': found {_shown(name)}; expected one of {', '.join(ROLES)}",
            reason="unknown role",
        )
    text = turn.get(form.text)
    if not isinstance(text, str):
        raise DataError(
            f"{at}.{form.text}': found {_kind(text)}; expected a string", reason="text not a string"
        )
    if not _is_unicode(text):
        raise DataError(
            f"{at}.{form.text}': found half of a surrogate pair (a broken \\ud8xx escape); expected"
            " whole characters",
            reason="broken character",
        )
    return Turn(role, text, is_trained=_is_trained(turn, at=at) if form is _CHAT else True)


def _is_trained(turn: Mapping[object, object], *, at: str) -> bool:
    weight = turn.get("weight")
    if weight not in (None, 0, 1):
        raise DataError(
            f"{at}.weight': found {_shown(weight)}; expected 0 or 1", reason="unknown weight"
        )
    return weight != 0


def _check_order(turns: Iterable[Turn], *, at: str) -> None:
    before: Role | None = None
    for index, turn in enumerate(turns):
        if turn.role is Role.SYSTEM and index > 0:
            raise DataError(
                f"{at}{index}]': found a system turn; expected it to come first",
                reason="system turn not first",
            )
        if turn.role is before:
            raise DataError(
                f"{at}{index}]': found two '{turn.role}' turns in a row; expected human and gpt to"
                " alternate",
                reason="turns do not alternate",
            )
        before = turn.role


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    names = {
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _shown(value: object) -> str:
    return f"'{value[:40]}'" if isinstance(value, str) else _kind(value)


def _names(record: Mapping[object, object]) -> str:
    names = [f"'{str(name)[:40]}'" for name in list(record)[:8]]
    return ", ".join(names) + (", ..." if len(record) > 8 else "") if names else "(none)"
