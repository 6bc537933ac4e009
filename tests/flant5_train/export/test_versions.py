"""The exported directories in transformers 4 and 5, each in an environment of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers

from flant5_train.data.encoding import encoder_for
from flant5_train.data.prompt import render_prompt
from flant5_train.models.tokenizer import Tokenization, load_tokenizer
from flant5_train.protocol.inference import AskedTurn
from flant5_train.protocol.turns import Role
from flant5_train.serving.model_cache import _tokenizer_of
from flant5_train.serving.server import conversation_of, source_of
from tests.environments import interpreter_with
from tests.flant5_train.export.conftest import PAIRS, Exports
from tests.flant5_train.export.texts import TEXTS

pytestmark = pytest.mark.stack

PINNED = transformers.__version__
VERSIONS = ("4.46.3", "4.57.6", PINNED)
PROGRAM = Path(__file__).parents[1] / "programs" / "uses_exports.py"

CONVERSATIONS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "Hi"}],
    [{"role": "user", "content": ""}],
    [
        {"role": "system", "content": "Be brief. {{ x }} {% y %}"},
        {"role": "user", "content": "One\n  two </s> \u00e9e\u0323\u0302"},
        {"role": "assistant", "content": " def f(x):\n\treturn {x}\n"},
        {"role": "user", "content": "### Human: three"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "four \U0001f600"},
    ],
    [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "Do you?"}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
]
REFUSED: list[tuple[list[dict[str, Any]], str]] = [
    ([{"role": "tool", "content": "x"}], "unknown role"),
    ([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], "follows others"),
    ([{"role": "user"}], "no content"),
    ([{"role": "user", "content": [{"type": "image", "url": "x"}]}], "not text"),
]


def interpreter(version: str) -> Path:
    if version == PINNED:
        return Path(sys.executable)
    packages = (f"transformers=={version}", "sentencepiece", "protobuf")
    return interpreter_with(*packages, shared=("torch", "numpy"))


@pytest.fixture(scope="package")
def question(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("question") / "question.json"
    asked = {
        "directories": {name: str(directory) for name, directory in exports.items()},
        "texts": [*TEXTS.values()],
        "conversations": CONVERSATIONS,
        "refused": [messages for messages, _ in REFUSED],
        "prompts": [prompt_of([{"role": "user", "content": each}]) for each in PAIRS],
    }
    path.write_text(json.dumps(asked), encoding="utf-8")
    return path


@cache
def use(version: str, question: Path) -> Mapping[str, Any]:
    done = subprocess.run(
        [str(interpreter(version)), "-I", str(PROGRAM), str(question)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told: Mapping[str, Any] = json.loads(done.stdout)
    assert told["version"] == version
    return told


def prompt_of(messages: list[dict[str, str]]) -> str:
    """The text that training and chat make of a conversation."""
    conversation = conversation_of([AskedTurn.model_validate(each) for each in messages])
    asks = conversation.turns[-1].role is Role.HUMAN
    turns = [*messages, {"role": "assistant", "content": "-"}] if asks else messages
    whole = conversation_of([AskedTurn.model_validate(each) for each in turns])
    segments = render_prompt(whole).segments
    return "".join(segment.text for segment in (segments[:-1] if asks else segments))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_cards_program_prints_the_answer_that_was_trained(version: str, question: Path) -> None:
    for name, found in use(version, question)["found"].items():
        assert found["card"].strip() == "Paris.", name


@pytest.mark.parametrize("version", VERSIONS)
def test_a_text_gets_the_ids_of_training_whoever_tokenizes_it(
    version: str, question: Path, exports: Exports
) -> None:
    for name, found in use(version, question)["found"].items():
        tokenizer = _tokenizer_of(str(exports[name]))
        encoder = encoder_for(tokenizer)
        # A lossless encoder leaves a last space to the answer; here each text stands alone.
        encode = tokenizer.pieces.encode if "lossless" in name else encoder.encode
        expected = [[*ids.tolist(), 1] for ids in encode([*TEXTS.values()])]
        for number, text in enumerate(TEXTS):
            assert found["ids"][number] == expected[number], (name, text)
            assert found["slow_ids"][number] == expected[number], (name, text)
        decoded = [tokenizer.decode(ids, skip_special_tokens=True) for ids in expected]
        assert found["decoded"] == decoded, name


@pytest.mark.parametrize("version", VERSIONS)
def test_the_chat_template_renders_the_prompt_of_training_and_chat(
    version: str, question: Path, exports: Exports
) -> None:
    for name, found in use(version, question)["found"].items():
        encoder = encoder_for(_tokenizer_of(str(exports[name])))
        for messages, rendered in zip(CONVERSATIONS, found["rendered"], strict=True):
            assert rendered["text"] == prompt_of(messages), name
            if messages[-1]["role"] == "user":
                conversation = conversation_of([AskedTurn.model_validate(m) for m in messages])
                source = source_of(conversation, encoder, max_tokens=10_000)
                assert rendered["ids"] == source.ids.tolist(), name


@pytest.mark.parametrize("version", VERSIONS)
def test_the_chat_template_refuses_what_the_format_can_not_say(
    version: str, question: Path
) -> None:
    for found in use(version, question)["found"].values():
        for (_, reason), refusal in zip(REFUSED, found["refused"], strict=True):
            assert reason in refusal


@pytest.mark.parametrize("version", VERSIONS)
def test_an_exported_model_answers_as_it_was_trained(version: str, question: Path) -> None:
    for name, found in use(version, question)["found"].items():
        assert found["keys"] == ["input_ids", "attention_mask"], name
        assert found["has_cache"], name
        # FastChat's own tokens for spaces are doubled by every decoder of transformers.
        answers = ["".join(answer.split()) for answer in found["answers"]]
        assert answers == ["".join(answer.split()) for answer in PAIRS.values()], name


def test_a_checkpoint_holds_the_tokenizer_of_the_model(exports: Exports) -> None:
    for name, directory in exports.items():
        tokenization: Tokenization = "lossless" if "lossless" in name else "fastchat"
        (final,) = {len(load_tokenizer(directory, tokenization=tokenization))}
        for checkpoint in directory.glob("checkpoint-*"):
            loaded = load_tokenizer(checkpoint, tokenization=tokenization)
            assert len(loaded) == final
            assert type(_tokenizer_of(str(checkpoint))) is type(loaded), checkpoint
