"""Reads one turn of a record: speaker, text, and the other fields of `record_fields`.

    {"from": "gpt", "value": "Yes.", "weight": 0}
    {"role": "assistant", "content": [{"type": "text", "text": "Yes."}], "name": "Ada"}

Both spellings are accepted in both forms. Messages use the spelling of the turn.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flant5_train.data.errors import RecordProblem
from flant5_train.data.record_fields import (
    MASKED_FLAGS,
    TOOLS,
    TRAINED_FLAGS,
    UNKNOWN,
    WEIGHT,
    WITHOUT_EFFECT,
    WITHOUT_TOOLS,
    Effect,
    FieldRule,
    Level,
    has_content,
    meant_by,
    rule_of,
)
from flant5_train.protocol.turns import ROLES, ContentError, Role, Turn, shown, text_of

_ROLE_KEYS = ("from", "role")
_TEXT_KEYS = ("value", "content")
_PLAIN = {*_ROLE_KEYS, *_TEXT_KEYS}
_ROLE_WORDS = {
    "from": "one of system, human, gpt (or user, assistant, developer, chatgpt, bing, bard)",
    "role": "one of system, developer, user, assistant (or human, gpt, chatgpt, bing, bard)",
}
_TOOL_ROLES = {
    *("tool", "function", "function_call", "observation", "ipython"),
    *("tool_call", "tool_calls", "tool_response", "tool_result", "tool_output"),
}
_EMPTY: tuple[object, ...] = ("", [], {})
_OTHER_KEY = {"from": "value", "value": "from", "role": "content", "content": "role"}


@dataclass(frozen=True, slots=True)
class PlacedTurn:
    """A turn and its place."""

    turn: Turn
    at: str
    """Path in the record, such as `messages[2]`."""
    word: str
    """Role as spelled in the file."""


@dataclass(slots=True)
class Findings:
    """Problems and warnings of one record, in the order of its fields."""

    problems: list[RecordProblem] = field(default_factory=list)
    warnings: list[RecordProblem] = field(default_factory=list)


class _RefusedError(Exception):
    def __init__(self, problem: RecordProblem) -> None:
        self.problem = problem


def read_turn(turn: object, *, at: str, form: str, findings: Findings) -> PlacedTurn | None:
    """Returns the turn of an object, or None if it is malformed.

    Adds the first problem of a malformed turn to `findings`.
    """
    try:
        return _read(turn, at=at, form=form, warnings=findings.warnings)
    except _RefusedError as error:
        findings.problems.append(error.problem)
        return None


def fields_of(
    fields: Mapping[str, object], level: Level, *, at: str = ""
) -> Iterator[tuple[FieldRule | None, RecordProblem]]:
    """Yields the problem or warning of each refused, reported or unknown field, with its rule."""
    for name, value in fields.items():
        rule = rule_of(level, name, value)
        place = f"{at}.{shown(name)}" if at else shown(name)
        if rule is None:
            meant = meant_by(level, name)
            hint = f"; did you mean '{meant}'?" if meant else ""
            yield (
                None,
                RecordProblem(UNKNOWN, f"an unknown field, without effect{hint}", None, place),
            )
        elif rule.effect is Effect.REFUSED:
            yield rule, RecordProblem(rule.kind, rule.meaning, rule.expected, place)
        elif rule.effect is Effect.REPORTED:
            yield (
                rule,
                RecordProblem(rule.kind, f"a field without effect: {rule.meaning}", None, place),
            )


def flag_of(value: object, *, at: str) -> bool | RecordProblem | None:
    """Returns True for a weight of 1, False for 0, None for null and empty values.

    Returns a Problem for any other value.
    """
    if not has_content(value):
        return None
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    shown = json.dumps(value, ensure_ascii=True, default=str)[:40]
    return RecordProblem(
        WEIGHT, shown, "0 (context only) or 1 (trained on); others can't be used", at
    )


def kind_of(value: object) -> str:
    """Returns the kind of a JSON value as text."""
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


def names_of(record: Mapping[str, object]) -> str:
    """Returns the names of the first fields, quoted."""
    names = [f"'{shown(str(name))}'" for name in list(record)[:8]]
    return ", ".join(names) + (", ..." if len(record) > 8 else "") if names else "(none)"


def _read(turn: object, *, at: str, form: str, warnings: list[RecordProblem]) -> PlacedTurn:
    if not isinstance(turn, dict):
        keys = "'from' and 'value'" if form == "conversations" else "'role' and 'content'"
        raise _RefusedError(
            RecordProblem("not a turn", kind_of(turn), f"an object with {keys}", at)
        )
    role_key = _key_of(turn, _ROLE_KEYS, at=at, form=form)
    role = _role_of(turn, role_key, at=at)
    own_warnings = []
    if not turn.keys() <= _PLAIN:
        others = {name: turn[name] for name in turn if name not in _PLAIN}
        for rule, problem in fields_of(others, "turn", at=at):
            if rule is not None and rule.effect is Effect.REFUSED:
                raise _RefusedError(problem)
            own_warnings.append(problem)
    text = _text_of(turn, _key_of(turn, _TEXT_KEYS, at=at, form=form), at=at)
    is_trained = True
    if not turn.keys() <= _PLAIN:
        is_trained = _is_trained(turn, role, at=at, warnings=own_warnings)
    warnings += own_warnings
    return PlacedTurn(Turn(role, text, is_trained), at, turn[role_key])


def _key_of(turn: Mapping[str, object], keys: tuple[str, str], *, at: str, form: str) -> str:
    """Returns the key of the role or the text; the most likely one if it is missing."""
    given = [key for key in keys if turn.get(key) is not None]
    filled = [key for key in given if turn[key] not in _EMPTY]
    if len(filled) == 2 and _meaning(turn, keys[0]) != _meaning(turn, keys[1]):
        found = f"'{keys[0]}' and '{keys[1]}', which differ"
        raise _RefusedError(RecordProblem("two fields of one meaning", found, "one of them", at))
    if given:
        return (filled or given)[0]
    present = [key for key in keys if key in turn]
    beside = [_OTHER_KEY[key] for key in _OTHER_KEY if key in turn and _OTHER_KEY[key] in keys]
    return next(iter((*present, *beside)), keys[0 if form == "conversations" else 1])


def _meaning(turn: Mapping[str, object], key: str) -> object:
    """Returns the value of a key, with roles normalized: "human" and "user" are equal."""
    value = turn[key]
    is_name = key in _ROLE_KEYS and isinstance(value, str)
    return ROLES.get(value.lower(), value) if is_name else value  # type: ignore[attr-defined]


def _role_of(turn: Mapping[str, object], key: str, *, at: str) -> Role:
    name = turn.get(key)
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is not None:
        return role
    place = f"{at}.{key}"
    if isinstance(name, str) and name.lower() in _TOOL_ROLES:
        found = f"'{name}': a tool call or its result, which can't be trained on"
        raise _RefusedError(RecordProblem(TOOLS, found, WITHOUT_TOOLS, place))
    found = f"'{shown(name)}'" if isinstance(name, str) else kind_of(name)
    if name is None and turn:
        found = f"nothing, only the fields {names_of(turn)}"
    raise _RefusedError(RecordProblem("unknown role", found, _ROLE_WORDS[key], place))


def _text_of(turn: Mapping[str, object], key: str, *, at: str) -> str:
    content, place = turn.get(key), f"{at}.{key}"
    if not isinstance(content, str | list):
        found = kind_of(content)
        if content is None and key not in turn:
            found = f"nothing, only the fields {names_of(turn)}"
        raise _RefusedError(RecordProblem("text not a string", found, "a string", place))
    try:
        text = text_of(content)
    except ContentError as error:
        problem = RecordProblem("part without text", error.found, error.expected, place)
        raise _RefusedError(problem) from error
    if not _is_unicode(text):
        found = "half of a surrogate pair (a broken \\ud8xx escape)"
        raise _RefusedError(RecordProblem("broken character", found, "whole characters", place))
    return text


def _is_trained(
    turn: Mapping[str, object], role: Role, *, at: str, warnings: list[RecordProblem]
) -> bool:
    flags: dict[str, bool] = {}
    for name in (*TRAINED_FLAGS, *MASKED_FLAGS):
        flag = flag_of(turn.get(name), at=f"{at}.{name}")
        if isinstance(flag, RecordProblem):
            raise _RefusedError(flag)
        if flag is not None:
            flags[name] = flag is not (name in MASKED_FLAGS)
    if len({*flags.values()}) == 2:
        found = f"{' and '.join(map(repr, flags))}, which contradict each other"
        raise _RefusedError(RecordProblem(WEIGHT, found, "one of them", at))
    if role is Role.GPT:
        return all(flags.values())
    for name, is_trained in flags.items():
        if is_trained:
            found = "a field without effect: only answers are trained on"
            warnings.append(RecordProblem(WITHOUT_EFFECT, found, None, f"{at}.{name}"))
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
