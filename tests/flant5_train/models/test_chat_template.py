import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from flant5_train.data.prompt import render_prompt
from flant5_train.data.record_reader import read_record
from flant5_train.models.tokenizer import LosslessTokenizer
from flant5_train.protocol.turns import ROLES, Role

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives"
    " helpful, detailed, and polite answers to the human's questions."
)
USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}


@pytest.fixture(scope="module")
def exported(
    lossless: LosslessTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> PreTrainedTokenizerBase:
    directory = tmp_path_factory.mktemp("exported")
    lossless.save_pretrained(str(directory))
    settings = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["chat_template"], "where transformers 4.46 looks for it"
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]
    assert not list(Path(directory).glob("*.jinja"))
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(directory)
    return loaded


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER], f"{SYSTEM}\n\n### Human: Hi\n### Assistant: "),
        (
            [{"role": "developer", "content": "Be brief."}, USER, ASSISTANT, USER],
            "Be brief.\n\n### Human: Hi\n### Assistant: Hello!\n### Human: Hi\n### Assistant: ",
        ),
        (
            [USER, {"role": "user", "content": " "}, USER],
            f"{SYSTEM}\n\n### Human: Hi\n\nHi\n### Assistant: ",
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": t} for t in ("One", " two")]}],
            f"{SYSTEM}\n\n### Human: One two\n### Assistant: ",
        ),
    ],
)
def test_the_template_of_an_exported_tokenizer_renders_the_trained_prompt(
    exported: PreTrainedTokenizerBase, messages: list[dict[str, Any]], expected: str
) -> None:
    text = exported.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == expected


@pytest.mark.parametrize("name", [*ROLES, *(name.title() for name in ROLES), "ASSISTANT"])
def test_the_template_takes_every_name_of_a_role_that_files_take(
    exported: PreTrainedTokenizerBase, name: str
) -> None:
    role = ROLES[name.lower()]
    message = {"role": name, "content": "Hi"}
    talk = {Role.SYSTEM: [message, USER], Role.HUMAN: [message], Role.GPT: [USER, message, USER]}
    as_trained = read_record({"messages": [*talk[role], ASSISTANT]}).conversation
    assert as_trained is not None
    expected = "".join(segment.text for segment in render_prompt(as_trained).segments[:-1])
    text = exported.apply_chat_template(talk[role], tokenize=False, add_generation_prompt=True)
    assert text == expected


def test_an_empty_list_of_parts_is_an_empty_text(exported: PreTrainedTokenizerBase) -> None:
    texts: list[str] = []
    contents: tuple[object, ...] = ([], "")
    for content in contents:
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}, ASSISTANT]
        conversation = read_record({"messages": messages}).conversation
        assert conversation is not None
        texts.append("".join(segment.text for segment in render_prompt(conversation).segments))
        texts.append(str(exported.apply_chat_template(messages, tokenize=False)))
    assert texts == [f"{SYSTEM}\n\n### Human: \n### Assistant: Hello!\n"] * 4


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": 5}, {"content": {}}])
def test_the_template_refuses_what_is_no_content(
    exported: PreTrainedTokenizerBase, message: dict[str, Any]
) -> None:
    with pytest.raises(Exception, match="a message has no content"):
        exported.apply_chat_template([{"role": "user", **message}], tokenize=False)


def test_an_answer_ends_with_the_newline_that_the_decoder_learns(
    exported: PreTrainedTokenizerBase,
) -> None:
    text = exported.apply_chat_template([USER, ASSISTANT], tokenize=False)
    assert text == f"{SYSTEM}\n\n### Human: Hi\n### Assistant: Hello!\n"


def test_a_generation_prompt_behind_an_answer_is_refused(
    exported: PreTrainedTokenizerBase,
) -> None:
    with pytest.raises(Exception, match="the last message is not a user message"):
        exported.apply_chat_template([USER, ASSISTANT], tokenize=False, add_generation_prompt=True)
