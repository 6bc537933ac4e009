import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from flant5_train.tokenizer import LosslessTokenizer

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
