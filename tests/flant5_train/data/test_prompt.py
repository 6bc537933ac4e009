import copy

import pytest

from flant5_train.config import OnMissingQuestion
from flant5_train.data.errors import DataError
from flant5_train.data.prompt import SYSTEM, Pair, _add_speaker_and_signal, _form_qa, render_prompt
from flant5_train.protocol.turns import Conversation, Role, Turn

TALK = [
    {"from": "human", "value": "Hi"},
    {"from": "gpt", "value": "Hello!"},
    {"from": "human", "value": "Bye"},
    {"from": "gpt", "value": "See you"},
]
FIRST = f"{SYSTEM}\n\n### Human: Hi\n### Assistant: "


def test_each_answer_makes_a_pair_with_everything_before_it() -> None:
    assert _form_qa([TALK]) == [
        Pair(FIRST, "Hello!\n"),
        Pair(f"{FIRST}Hello!\n### Human: Bye\n### Assistant: ", "See you\n"),
    ]


def test_messages_stay_as_they_are() -> None:
    before = copy.deepcopy(TALK)
    text, turns = _add_speaker_and_signal("H", TALK)
    assert before == TALK
    assert text == "H" + "".join(turns)
    assert turns[1] == "Hello!\n"


def test_a_system_turn_stands_in_for_the_default_sentence() -> None:
    (pair,) = _form_qa([[{"from": "system", "value": "Be brief."}, *TALK[:2]]])
    assert pair.question == "Be brief.\n\n### Human: Hi\n### Assistant: "


def test_a_conversation_may_begin_with_an_answer() -> None:
    assert _form_qa([TALK[1:2]]) == [Pair(f"{SYSTEM}\n\n", "Hello!\n")]


def test_an_answer_without_a_question_can_be_left_out_and_stays_context() -> None:
    blank, first = Turn(Role.HUMAN, " \n"), Turn(Role.GPT, "Hello!")
    for begin in ((first,), (Turn(Role.SYSTEM, "Be brief."), first), (blank, first)):
        conversation = Conversation((*begin, Turn(Role.HUMAN, "Bye"), Turn(Role.GPT, "See you")))
        texts = [segment.text for segment in render_prompt(conversation).segments]
        rendered = render_prompt(conversation, OnMissingQuestion.SKIP)
        assert [segment.text for segment in rendered.segments] == texts
        learned = [segment.text for segment in rendered.segments if segment.is_answer]
        assert learned == ["See you\n"]
        assert rendered.left_out == {"answer without a question": 1}
        assert sum(segment.is_answer for segment in render_prompt(conversation).segments) == 2


def test_what_makes_no_pair_is_counted_by_reason() -> None:
    turns = (
        Turn(Role.HUMAN, "a"),
        Turn(Role.GPT, " \n"),
        Turn(Role.HUMAN, "b"),
        Turn(Role.GPT, "c", is_trained=False),
        Turn(Role.HUMAN, "d"),
    )
    rendered = render_prompt(Conversation(turns))
    assert not any(segment.is_answer for segment in rendered.segments)
    assert rendered.left_out == {
        "empty answer": 1,
        "answer of weight 0": 1,
        "human turn without an answer": 1,
    }


def test_an_unknown_role_is_refused_with_its_place() -> None:
    with pytest.raises(DataError, match=r"sources: record 2: field 'conversations\[0\].from'"):
        _form_qa([TALK, [{"from": "narrator", "value": "x"}]])
