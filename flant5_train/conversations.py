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
from typing import Any

from flant5_train.config import OnBadRecord
from flant5_train.place import DataError, Place, Problem
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
    problem = next(problems_of(record), None)
    if problem is not None:
        raise DataError.of(problem, place=place)
    return sound_conversation(record)


def sound_conversation(record: object) -> Conversation:
    """The conversation of a record without problems."""
    turns, form = _turns_of(record)
    return Conversation(tuple(_turn_of(turn, form) for turn in turns))


def turns_field(record: object) -> str:
    """The field that holds the turns of a record without problems."""
    return _turns_of(record)[1].turns


def problems_of(record: object) -> Iterator[Problem]:
    """Everything that is wrong with a JSON value, in the order of its fields; nothing when it means
    a conversation."""
    if not isinstance(record, dict):
        yield Problem(
            "not an object", _kind(record), "an object with 'conversations' or 'messages'"
        )
        return
    form = _form_of(record)
    if form is None:
        yield Problem(
            "no conversation field",
            f"the fields {_names(record)}",
            "'conversations' (ShareGPT) or 'messages' (chat)",
        )
        return
    turns = record[form.turns]
    if not isinstance(turns, list) or not turns:
        found = "an empty list" if turns == [] else _kind(turns)
        yield Problem("no turns", found, "a list of turns", form.turns)
        return
    yield from _problems_of_turns(turns, form)


def _turns_of(record: object) -> tuple[list[Mapping[str, Any]], _Form]:
    assert isinstance(record, dict), "that would be a problem"
    form = _form_of(record)
    assert form is not None, "that would be a problem"
    return record[form.turns], form


def _form_of(record: Mapping[str, object]) -> _Form | None:
    return next((form for form in (_SHAREGPT, _CHAT) if form.turns in record), None)


def _turn_of(turn: Mapping[str, Any], form: _Form) -> Turn:
    """The turn that an object without problems means."""
    is_trained = form is _SHAREGPT or turn.get("weight") != 0
    return Turn(ROLES[turn[form.role].lower()], turn[form.text], is_trained=is_trained)


def _problems_of_turns(turns: Iterable[object], form: _Form) -> Iterator[Problem]:
    before: Role | None = None
    for index, turn in enumerate(turns):
        at = f"{form.turns}[{index}]"
        if not isinstance(turn, dict):
            yield Problem(
                "not a turn", _kind(turn), f"an object with '{form.role}' and '{form.text}'", at
            )
            before = None
            continue
        role = _role_of(turn, form)
        yield from _problems_of_turn(turn, form, at=at)
        if role is Role.SYSTEM and index > 0:
            yield Problem("system turn not first", "a system turn", "it to come first", at)
        if role is not None and role is before:
            found = f"two '{role}' turns in a row"
            yield Problem("turns do not alternate", found, "human and gpt to alternate", at)
        before = role


def _role_of(turn: Mapping[str, object], form: _Form) -> Role | None:
    name = turn.get(form.role)
    return ROLES.get(name.lower()) if isinstance(name, str) else None


def _problems_of_turn(turn: Mapping[str, object], form: _Form, *, at: str) -> Iterator[Problem]:
    if _role_of(turn, form) is None:
        found = _shown(turn.get(form.role))
        yield Problem("unknown role", found, f"one of {', '.join(ROLES)}", f"{at}.{form.role}")
    text = turn.get(form.text)
    if not isinstance(text, str):
        yield Problem("text not a string", _kind(text), "a string", f"{at}.{form.text}")
    elif not _is_unicode(text):
        yield Problem(
            "broken character",
            "half of a surrogate pair (a broken \\ud8xx escape)",
            "whole characters",
            f"{at}.{form.text}",
        )
    if form is _CHAT and turn.get("weight") not in (None, 0, 1):
        yield Problem("unknown weight", _shown(turn.get("weight")), "0 or 1", f"{at}.weight")


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
