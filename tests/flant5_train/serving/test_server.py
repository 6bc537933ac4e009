"""The text that a model is asked with is the text that it was trained on."""

from typing import Literal

import pytest

from flant5_train.data.encoding import Lengths, encode_batch, encoder_for
from flant5_train.data.errors import DataError
from flant5_train.data.prompt import _form_qa, conversations_of
from flant5_train.models.tokenizer import LosslessTokenizer, load_tokenizer
from flant5_train.protocol.inference import AskedTurn
from flant5_train.serving.server import QuestionTooLongError, conversation_of, source_of

TALK = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "Write code."},
    {"from": "gpt", "value": "```\n\tx = {1}\n```"},
    {"from": "human", "value": "Thanks!\nMore?"},
    {"from": "gpt", "value": "No."},
]
NAMES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "human": "user",
    "gpt": "assistant",
}


def asked(talk: list[dict[str, str]]) -> list[AskedTurn]:
    return [AskedTurn(role=NAMES[turn["from"]], content=turn["value"]) for turn in talk]


@pytest.mark.parametrize("tokenization", ["lossless", "fastchat"])
@pytest.mark.parametrize("num_left_out", [0, 3])
def test_the_source_is_that_of_the_pair_in_training(
    vocabulary: str, tokenization: Literal["lossless", "fastchat"], num_left_out: int
) -> None:
    encoder = encoder_for(load_tokenizer(vocabulary, tokenization=tokenization))
    trained = encode_batch(conversations_of([TALK]), encoder)
    whole = encoder.cut(trained.tokens, trained.spans[-1], Lengths(2048, 100))
    limit = encoder.longest(Lengths(0, 0)).max_source  # FastChat's sources are one longer
    max_tokens = len(whole.source) - limit - num_left_out
    for number, span in enumerate(trained.spans):
        example = encoder.cut(trained.tokens, span, Lengths(max_tokens, 100))
        turns = asked(TALK[: 2 + 2 * number])
        source = source_of(conversation_of(turns), encoder, max_tokens=max_tokens)
        assert source.ids.tolist() == example.source.tolist()
    assert source.num_left_out == num_left_out


def test_its_text_is_the_prompt_format(lossless: LosslessTokenizer) -> None:
    source = source_of(conversation_of(asked(TALK[:-1])), encoder_for(lossless), max_tokens=2048)
    *_, last = _form_qa([TALK])
    assert lossless.decode(source.ids.tolist(), skip_special_tokens=True) == last.question
    assert source.num_left_out == 0


def test_too_long_a_history_loses_its_oldest_turns_and_keeps_the_header(
    lossless: LosslessTokenizer,
) -> None:
    long = [
        TALK[0],
        *[{"from": name, "value": f"{name} says much"} for name in ("human", "gpt")] * 20,
        {"from": "human", "value": "The last one?"},
    ]
    source = source_of(conversation_of(asked(long)), encoder_for(lossless), max_tokens=64)
    text = str(lossless.decode(source.ids.tolist(), skip_special_tokens=True))
    assert len(source.ids) == 64
    assert source.num_left_out > 100
    assert text.startswith("Be brief.\n\n")
    assert text.endswith("### Human: The last one?\n### Assistant: ")


def test_a_message_that_does_not_fit_is_refused_with_its_length(
    lossless: LosslessTokenizer,
) -> None:
    turns = asked([{"from": "human", "value": "word " * 100}])
    with pytest.raises(QuestionTooLongError, match=r"have \d+ tokens; the model reads at most 64"):
        source_of(conversation_of(turns), encoder_for(lossless), max_tokens=64)


def test_turns_that_make_no_conversation_are_refused() -> None:
    turns = asked([TALK[1], TALK[0]])
    with pytest.raises(DataError, match=r"messages\[1\].*found a system turn"):
        conversation_of(turns)


def test_two_turns_in_a_row_are_asked_as_they_were_trained_on() -> None:
    twice = [TALK[0], TALK[0], TALK[1], TALK[1], TALK[2], TALK[2], TALK[3]]
    (trained,) = conversations_of([twice])
    assert conversation_of(asked(twice)) == trained
    assert [turn.text for turn in trained.turns[:2]] == [
        "Be brief.\n\nBe brief.",
        "Write code.\n\nWrite code.",
    ]
