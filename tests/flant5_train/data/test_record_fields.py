"""Every known field of a record or a turn changes what is trained on, is refused, is reported, or
only annotates: the table is walked, in both forms and spellings."""

from typing import Any

import pytest

from flant5_train.data.errors import RecordProblem
from flant5_train.data.prompt import SYSTEM, render_prompt
from flant5_train.data.record_fields import (
    MASKED_FLAGS,
    RECORD_WEIGHTS,
    SYSTEM_FIELDS,
    TABLE,
    TRAINED_FLAGS,
    Effect,
    as_markdown,
)
from flant5_train.data.record_reader import RecordReading, read_record
from flant5_train.protocol.turns import Role
from tests.flant5_train.conftest import REPOSITORY

SPELLINGS = {
    "ShareGPT": ("conversations", "from", "value", ("human", "gpt", "system")),
    "chat": ("messages", "role", "content", ("user", "assistant", "system")),
    "chat words in conversations": (
        "conversations",
        "role",
        "content",
        ("user", "assistant", "system"),
    ),
    "ShareGPT words in messages": ("messages", "from", "value", ("human", "gpt", "system")),
    "role and value": ("conversations", "role", "value", ("human", "assistant", "system")),
}
FORMS = [*SPELLINGS]
NEUTRAL: tuple[object, ...] = (None, "", [], {}, "[]")
HONOURED_NAMES = {"conversations", "messages", "from", "role", "value", "content"}


def talk(form: str, /, **record: object) -> dict[str, Any]:
    """Two questions, two answers."""
    turns, role, text, (human, gpt, _) = SPELLINGS[form]
    said = ((human, "Who are you?"), (gpt, "A pirate."), (human, "Sure?"), (gpt, "Yes."))
    return {turns: [{role: who, text: what} for who, what in said], **record}


def with_turn_field(form: str, turn: int, /, **fields: object) -> dict[str, Any]:
    record = talk(form)
    record[SPELLINGS[form][0]][turn] |= fields
    return record


def placed(level: str, form: str, name: str, value: object) -> tuple[dict[str, Any], str]:
    """A record with this field, and the field's place as reports name it."""
    if level == "record":
        return talk(form, **{name: value}), name
    return with_turn_field(form, 1, **{name: value}), f"{SPELLINGS[form][0]}[1].{name}"


def of_effect(effect: Effect) -> list[tuple[str, str]]:
    return [(rule.level, name) for rule in TABLE if rule.effect is effect for name in rule.names]


def learned(reading: RecordReading) -> list[tuple[str, str]]:
    """Question and answer of each pair."""
    assert reading.problems == ()
    assert reading.conversation is not None
    before, pairs = "", []
    for segment in render_prompt(reading.conversation).segments:
        if segment.is_answer:
            pairs.append((before, segment.text))
        before += segment.text
    return pairs


FIRST = f"{SYSTEM}\n\n### Human: Who are you?\n### Assistant: "
SECOND = f"{FIRST}A pirate.\n### Human: Sure?\n### Assistant: "
BOTH = [(FIRST, "A pirate.\n"), (SECOND, "Yes.\n")]


@pytest.mark.parametrize("form", FORMS)
def test_both_spellings_are_understood_in_both_forms(form: str) -> None:
    reading = read_record(talk(form))
    assert learned(reading) == BOTH
    assert reading.warnings == ()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TRAINED_FLAGS)
def test_an_answer_of_weight_0_stays_in_the_history_and_is_no_target(form: str, name: str) -> None:
    for off, on in ((0, 1), (False, True), (0.0, 1.0)):
        assert learned(read_record(with_turn_field(form, 1, **{name: off}))) == BOTH[1:]
        assert learned(read_record(with_turn_field(form, 1, **{name: on}))) == BOTH


@pytest.mark.parametrize("nothing", NEUTRAL)
@pytest.mark.parametrize("name", sorted({*TRAINED_FLAGS, *MASKED_FLAGS, *RECORD_WEIGHTS}))
def test_an_empty_weight_counts_as_absent(name: str, nothing: object) -> None:
    records = [with_turn_field("chat", turn, **{name: nothing}) for turn in (0, 1)]
    if name in RECORD_WEIGHTS:
        records.append(talk("chat", **{name: nothing}))
    for record in records:
        reading = read_record(record)
        assert (learned(reading), reading.warnings) == (BOTH, ())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MASKED_FLAGS)
def test_a_masked_answer_is_no_target(form: str, name: str) -> None:
    assert learned(read_record(with_turn_field(form, 1, **{name: True}))) == BOTH[1:]
    assert learned(read_record(with_turn_field(form, 1, **{name: False}))) == BOTH


@pytest.mark.parametrize("value", [0.5, 2, -1, "0", "true", [1], {"a": 0}, float("nan")])
@pytest.mark.parametrize("name", sorted({*TRAINED_FLAGS, *MASKED_FLAGS, *RECORD_WEIGHTS}))
def test_a_weight_of_another_number_is_refused(name: str, value: object) -> None:
    of_turn = with_turn_field("chat", 1, **{name: value})
    records = [of_turn] if name in (*TRAINED_FLAGS, *MASKED_FLAGS) else []
    records += [talk("chat", **{name: value})] if name in RECORD_WEIGHTS else []
    for record in records:
        (problem,) = read_record(record).problems
        assert problem.reason == "unknown weight"
        assert problem.field in (name, f"messages[1].{name}")
        assert "expected 0 (context only) or 1 (trained on)" in str(problem)


@pytest.mark.parametrize("name", [*TRAINED_FLAGS, *MASKED_FLAGS])
def test_a_weight_of_a_question_has_no_effect_and_says_so(name: str) -> None:
    asks_to_train = name in TRAINED_FLAGS
    reading = read_record(with_turn_field("ShareGPT", 0, **{name: asks_to_train}))
    assert learned(reading) == BOTH
    (warning,) = reading.warnings
    assert (warning.reason, warning.field) == ("field without effect", f"conversations[0].{name}")
    assert read_record(with_turn_field("ShareGPT", 0, **{name: not asks_to_train})).warnings == ()


def test_weights_that_contradict_each_other_are_refused() -> None:
    (problem,) = read_record(with_turn_field("chat", 1, weight=0, loss=True)).problems
    assert str(problem) == (
        "field 'messages[1]': found 'weight' and 'loss', which contradict each other; expected one"
        " of them"
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", RECORD_WEIGHTS)
def test_a_record_of_weight_0_has_no_target(form: str, name: str) -> None:
    assert learned(read_record(talk(form, **{name: 0}))) == []
    assert learned(read_record(talk(form, **{name: 1}))) == BOTH


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SYSTEM_FIELDS)
def test_a_system_text_beside_the_turns_is_the_first_turn(form: str, name: str) -> None:
    expected = [(q.replace(SYSTEM, "You are a pirate."), a) for q, a in BOTH]
    for text in ("You are a pirate.", [{"type": "text", "text": "You are a pirate."}]):
        assert learned(read_record(talk(form, **{name: text}))) == expected
    for nothing in (*NEUTRAL, " \n"):
        assert learned(read_record(talk(form, **{name: nothing}))) == BOTH
    for wrong in (5, {"text": "x"}, [{"type": "image_url", "image_url": {}}], "\ud83d"):
        (problem,) = read_record(talk(form, **{name: wrong})).problems
        assert problem.field == name


@pytest.mark.parametrize("name", SYSTEM_FIELDS)
def test_two_different_system_texts_are_refused(name: str) -> None:
    record = talk("chat", **{name: "Be brief."})
    record["messages"].insert(0, {"role": "developer", "content": "Be brief."})
    reading = read_record(record)
    assert reading.conversation is not None
    assert [turn.role for turn in reading.conversation.turns[:2]] == [Role.SYSTEM, Role.HUMAN]
    record["messages"][0]["content"] = "Be long."
    (problem,) = read_record(record).problems
    assert str(problem) == (
        f"field '{name}': found another text than 'messages[0]'; expected one of them"
    )


@pytest.mark.parametrize(("level", "name"), of_effect(Effect.REFUSED))
def test_a_field_that_asks_for_something_else_is_refused_with_the_way_on(
    level: str, name: str
) -> None:
    for form in FORMS:
        record, place = placed(level, form, name, True if name == "label" else "something")
        (problem,) = read_record(record).problems
        assert problem.field == place
        assert problem.expected
        for nothing in NEUTRAL:
            reading = read_record(placed(level, form, name, nothing)[0])
            assert learned(reading) == BOTH
            assert reading.warnings == ()


@pytest.mark.parametrize(("level", "name"), of_effect(Effect.REPORTED))
def test_a_field_without_effect_is_reported(level: str, name: str) -> None:
    for form in FORMS:
        record, place = placed(level, form, name, "something")
        reading = read_record(record)
        assert learned(reading) == BOTH
        assert [(each.reason, each.field) for each in reading.warnings] == [
            ("field without effect", place)
        ]
        assert read_record(placed(level, form, name, None)[0]).warnings == ()


@pytest.mark.parametrize(("level", "name"), of_effect(Effect.SILENT))
def test_an_annotation_is_silent(level: str, name: str) -> None:
    reading = read_record(placed(level, "chat", name, "something")[0])
    assert learned(reading) == BOTH
    assert reading.warnings == ()


def test_every_honoured_field_is_one_that_these_tests_walk() -> None:
    honoured = {name for rule in TABLE if rule.effect is Effect.HONOURED for name in rule.names}
    walked = {*SYSTEM_FIELDS, *RECORD_WEIGHTS, *TRAINED_FLAGS, *MASKED_FLAGS, *HONOURED_NAMES}
    assert honoured == walked


@pytest.mark.parametrize(
    ("level", "name", "hint"),
    [
        ("record", "mood", ""),
        ("record", "sytem", "; did you mean 'system'?"),
        ("turn", "mood", ""),
        ("turn", "wieght", "; did you mean 'weight'?"),
        ("turn", "tool_cals", "; did you mean 'tool_calls'?"),
    ],
)
def test_an_unknown_field_is_reported(level: str, name: str, hint: str) -> None:
    record, place = placed(level, "chat", name, 1)
    reading = read_record(record)
    assert learned(reading) == BOTH
    assert reading.warnings == (
        RecordProblem("unknown field", f"an unknown field, without effect{hint}", None, place),
    )


def test_two_forms_in_one_record_are_refused_unless_they_are_equal() -> None:
    both = talk("ShareGPT") | talk("chat")
    assert learned(read_record(both)) == BOTH
    for nothing in NEUTRAL:
        assert learned(read_record(talk("chat") | {"conversations": nothing})) == BOTH
    both["messages"][1]["content"] = "from messages"
    (problem,) = read_record(both).problems
    assert (problem.reason, problem.field) == ("two forms", "messages")
    both["messages"][1]["role"] = "alien"
    assert [each.reason for each in read_record(both).problems] == ["two forms"]


@pytest.mark.parametrize("role", ["tool", "function", "observation", "function_call", "tool_call"])
def test_a_role_of_tools_is_refused_as_a_tool_call(role: str) -> None:
    record = talk("ShareGPT")
    record["conversations"][1]["from"] = role
    (problem,) = read_record(record).problems
    assert (problem.reason, problem.field) == ("tool call", "conversations[1].from")


def test_spellings_that_differ_within_a_turn_are_refused() -> None:
    same = with_turn_field("chat", 1, **{"from": "assistant", "value": None})
    assert learned(read_record(same)) == BOTH
    (problem,) = read_record(with_turn_field("chat", 1, value="No.")).problems
    assert str(problem) == (
        "field 'messages[1]': found 'value' and 'content', which differ; expected one of them"
    )


@pytest.mark.parametrize("other", ["gpt", "GPT", "assistant", "bard", None, "", [], {}])
def test_spellings_of_one_role_within_a_turn_agree(other: object) -> None:
    assert learned(read_record(with_turn_field("chat", 1, **{"from": other}))) == BOTH
    (problem,) = read_record(with_turn_field("chat", 1, **{"from": "human"})).problems
    assert problem.reason == "two fields of one meaning"


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_an_empty_text_beside_the_other_spelling_counts_as_absent(nothing: object) -> None:
    assert learned(read_record(with_turn_field("chat", 1, value=nothing))) == BOTH
    assert learned(read_record(with_turn_field("ShareGPT", 1, content=nothing))) == BOTH


@pytest.mark.parametrize(
    "bad", [{"role": "bot", "content": "x"}, {"role": "user", "content": 5}, 7, {"role": "tool"}]
)
def test_a_malformed_turn_makes_no_problem_of_its_neighbours(bad: object) -> None:
    record = with_turn_field("chat", 1, weight=0)
    record["messages"][2] = bad
    (problem,) = read_record(record).problems
    assert str(problem.field).startswith("messages[2]")


OTHER_FORMS = {
    "Alpaca": {"instruction": "a", "input": "", "output": "b"},
    "prompt and completion": {"prompt": "a", "completion": "b"},
    "query and response": {"query": "a", "response": "b"},
    "preference": {"input": {"messages": []}, "preferred_output": [], "non_preferred_output": []},
    "plain text": {"text": "a"},
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_a_record_of_another_form_is_refused_by_the_name_of_its_form(name: str) -> None:
    (problem,) = read_record(OTHER_FORMS[name]).problems
    assert problem.reason == "no conversation field"
    assert name in problem.found
    assert '{"messages": [{"role": "user", "content": "..."}' in str(problem.expected)


@pytest.mark.parametrize("level", ["record", "turn"])
def test_the_document_has_the_table(level: Any) -> None:
    document = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    assert as_markdown(level) in document
