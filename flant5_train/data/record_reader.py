"""Reads one record: its conversation or its problems, and warnings about likely mistakes.

    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}

`record_fields` defines the other fields.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from flant5_train.data.errors import RecordProblem
from flant5_train.data.record_fields import (
    RECORD_WEIGHTS,
    SYSTEM_FIELDS,
    WEIGHT,
    Effect,
    has_content,
    other_form_of,
)
from flant5_train.data.turn_reader import (
    Findings,
    PlacedTurn,
    fields_of,
    flag_of,
    kind_of,
    names_of,
    read_turn,
)
from flant5_train.protocol.turns import ContentError, Conversation, Role, Turn, joined, text_of

FORMS = ("conversations", "messages")
ANSWER_WITHOUT_QUESTION = "answer without a question"
_EXPECTED = "'conversations' (ShareGPT) or 'messages' (chat)"


@dataclass(frozen=True, slots=True)
class RecordReading:
    """Result of reading one record."""

    conversation: Conversation | None
    """None if there are problems."""
    problems: tuple[RecordProblem, ...] = ()
    """Problems that make the record unusable, at most one per turn, in field order."""
    warnings: tuple[RecordProblem, ...] = ()
    """Left-out or joined turns, and fields without effect, of a usable record."""


def read_record(record: object) -> RecordReading:
    """Returns the conversation of a JSON value, or its problems."""
    if not isinstance(record, dict):
        expected = "an object with 'conversations' or 'messages'"
        return _refused(RecordProblem("not an object", kind_of(record), expected))
    form = _form_of(record)
    if form is None:
        return _refused(_no_form(record))
    objects = record[form]
    if not isinstance(objects, list) or not objects:
        found = "an empty list" if objects == [] else kind_of(objects)
        return _refused(RecordProblem("no turns", found, "a list of turns", form))
    findings = Findings()
    placed = [
        read_turn(turn, at=f"{form}[{index}]", form=form, findings=findings)
        for index, turn in enumerate(objects)
    ]
    turns = [each for each in placed if each is not None]
    if len(turns) == len(placed):  # otherwise the neighbours of a refused turn would look adjacent
        findings.problems += _problems_of_order(turns)
    if len(record) > 1:
        turns = _with_fields(turns, record, form, findings)
    if findings.problems:
        return RecordReading(None, tuple(findings.problems))
    findings.warnings += _warnings_of_order(turns)
    conversation = Conversation(tuple(joined([each.turn for each in turns])))
    return RecordReading(conversation, warnings=tuple(findings.warnings))


def _refused(problem: RecordProblem) -> RecordReading:
    return RecordReading(None, (problem,))


def _form_of(record: Mapping[str, object]) -> str | None:
    """Returns the field with the turns, preferring one that is not null or empty."""
    given = [form for form in FORMS if record.get(form) is not None]
    filled = [form for form in given if has_content(record[form])]
    return next(iter((*filled, *given)), None)


def _no_form(record: Mapping[str, object]) -> RecordProblem:
    found, form = f"the fields {names_of(record)}", other_form_of(frozenset(record))
    if form is None:
        return RecordProblem("no conversation field", found, _EXPECTED)
    turns = '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}'
    return RecordProblem(
        "no conversation field", f"{found}: {form}", f"{_EXPECTED}, such as {turns}"
    )


def _problems_of_order(turns: Sequence[PlacedTurn]) -> Iterator[RecordProblem]:
    is_first = True
    for role, group in groupby(turns, key=lambda each: each.turn.role):
        first, *others = group
        if role is Role.SYSTEM and not is_first:
            yield RecordProblem(
                "system turn not first", "a system turn", "it to come first", first.at
            )
        is_first = False
        for each in others:
            if each.turn.is_trained != first.turn.is_trained:
                found = f"a second '{each.word}' turn in a row, of another weight"
                expected = "equal weights: turns in a row of one speaker are joined"
                yield RecordProblem(WEIGHT, found, expected, each.at)


def _with_fields(
    turns: list[PlacedTurn], record: Mapping[str, object], form: str, findings: Findings
) -> list[PlacedTurn]:
    """Returns the turns as the other fields of the record change them; adds to `findings`."""
    others = {name: value for name, value in record.items() if name not in FORMS}
    findings.problems += _two_forms(record, form)
    is_refused: set[tuple[str, ...]] = set()
    for rule, problem in fields_of(others, "record"):
        if rule is None or rule.effect is not Effect.REFUSED:
            findings.warnings.append(problem)
        elif rule.names not in is_refused:  # `chosen` and `rejected` are one problem
            is_refused.add(rule.names)
            findings.problems.append(problem)
    turns = _weighted(turns, record, findings)
    return _with_system(turns, record, findings)


def _two_forms(record: Mapping[str, object], form: str) -> Iterator[RecordProblem]:
    (other,) = (each for each in FORMS if each != form)
    if not has_content(record.get(other)):
        return
    mine, its = (read_record({name: record[name]}) for name in (form, other))
    if its.conversation != mine.conversation or its.conversation is None:
        yield RecordProblem(
            "two forms", f"other turns than those of '{form}'", "one of the two", other
        )


def _weighted(
    turns: list[PlacedTurn], record: Mapping[str, object], findings: Findings
) -> list[PlacedTurn]:
    flags = [flag_of(record.get(name), at=name) for name in RECORD_WEIGHTS]
    findings.problems += [flag for flag in flags if isinstance(flag, RecordProblem)]
    if False not in flags:
        return turns
    return [
        replace(each, turn=replace(each.turn, is_trained=each.turn.role is not Role.GPT))
        for each in turns
    ]


def _with_system(
    turns: list[PlacedTurn], record: Mapping[str, object], findings: Findings
) -> list[PlacedTurn]:
    texts: dict[str, str] = {}
    for name in SYSTEM_FIELDS:
        if has_content(value := record.get(name)):
            texts[name] = _system_text(value, name, findings)
    texts = {name: text for name, text in texts.items() if text.strip()}
    if not texts:
        return turns
    (name, text), *others = texts.items()
    own = [each for each in turns if each.turn.role is Role.SYSTEM]
    if any(other != text for _, other in others) or any(each.turn.text != text for each in own):
        beside = others[0][0] if others else own[0].at
        problem = RecordProblem(
            "two system texts", f"another text than '{beside}'", "one of them", name
        )
        findings.problems.append(problem)
    if own:
        return turns
    return [PlacedTurn(Turn(Role.SYSTEM, text), name, "system"), *turns]


def _system_text(value: object, name: str, findings: Findings) -> str:
    if not isinstance(value, str | list):
        problem = RecordProblem("text not a string", kind_of(value), "a string", name)
        findings.problems.append(problem)
        return ""
    try:
        text = text_of(value)
        text.encode()
    except ContentError as error:
        found, expected = error.found, error.expected
        findings.problems.append(RecordProblem("part without text", found, expected, name))
        return ""
    except UnicodeEncodeError:
        found = "half of a surrogate pair (a broken \\ud8xx escape)"
        findings.problems.append(RecordProblem("broken character", found, "whole characters", name))
        return ""
    return text


def _warnings_of_order(turns: Sequence[PlacedTurn]) -> Iterator[RecordProblem]:
    """Yields warnings of a usable record: joined turns, and turns without a proper pair."""
    has_question = False
    role = None
    for role, group in groupby(turns, key=lambda each: each.turn.role):
        first, *others = group
        for each in others:
            found = f"a second '{each.word}' turn in a row, joined to the one before"
            yield RecordProblem("turns joined", found, None, each.at)
        is_blank = not any(each.turn.text.strip() for each in (first, *others))
        if role is Role.HUMAN:
            has_question = has_question or not is_blank
            last = (first, *others)[-1]
        elif role is Role.GPT and is_blank:
            yield RecordProblem("empty answer", "no text", "an answer to learn", first.at)
        elif role is Role.GPT and first.turn.is_trained and not has_question:
            yield RecordProblem(
                ANSWER_WITHOUT_QUESTION,
                "no question before the answer",
                "a question, or on_missing_question=skip to leave such answers out",
                first.at,
            )
    if role is Role.HUMAN:
        expected = "an answer after it"
        yield RecordProblem("human turn without an answer", "the last turn", expected, last.at)
    if role is Role.SYSTEM:
        found = "only a system turn"
        yield RecordProblem("no turns but a system turn", found, "a conversation", turns[0].at)
