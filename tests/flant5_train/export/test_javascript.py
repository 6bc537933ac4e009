"""The exported tokenizer in JavaScript: the engine of transformers.js, without a browser."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from flant5_train.data.encoding import Ids, encoder_for
from flant5_train.models.tokenizer import LosslessTokenizer, Tokenization, load_tokenizer
from flant5_train.protocol.turns import Conversation
from tests.environments import node_modules_with
from tests.flant5_train.export.test_versions import CONVERSATIONS, prompt_of
from tests.flant5_train.export.texts import TEXTS

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm here"),
]

PACKAGES = ("@huggingface/tokenizers@0.2.0", "@huggingface/jinja@0.5.11")
PROGRAM = Path(__file__).parent / "uses_tokenizers.mjs"
NUM_BYTES = 256
NAMES_OF_TOKENS = "special tokens"
"""A text that JavaScript reads otherwise: a special token's name is the token there."""


@pytest.mark.parametrize("tokenization", ["lossless", "fastchat"])
def test_javascript_gives_the_ids_of_training_to_what_the_vocabulary_has(
    tokenization: Tokenization,
    vocabulary: Path,
    examples: Sequence[Conversation],
    tmp_path: Path,
) -> None:
    tokenizer = load_tokenizer(vocabulary, tokenization=tokenization)
    tokenizer.save_pretrained(str(tmp_path))
    turns = [turn.text for talk in examples[:60] for turn in talk.turns]
    texts = [*(text for name, text in TEXTS.items() if name != NAMES_OF_TOKENS), *turns]
    if isinstance(tokenizer, LosslessTokenizer):
        arrays: Sequence[Ids] = tokenizer.pieces.encode(texts)
        # Its Unigram has no byte fallback: a character that is no piece is <unk> there.
        first_byte = len(tokenizer) - NUM_BYTES
    else:
        arrays = encoder_for(tokenizer).encode(texts)
        first_byte = len(tokenizer)
    expected = [[*ids.tolist(), 1] for ids in arrays]
    found = use(tmp_path, texts=texts, ids=expected)
    pairs = [
        (ours, theirs)
        for ours, theirs in zip(expected, found["ids"], strict=True)
        if max(ours) < first_byte
    ]
    assert len(pairs) > len(texts) / 3
    # Ties between two segmentations are broken otherwise now and then.
    assert sum(ours != theirs for ours, theirs in pairs) <= len(pairs) / 100
    assert found["rendered"] == [prompt_of(messages) for messages in CONVERSATIONS]
    if tokenization == "lossless":
        decoded = [str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in expected]
        # Its decoder of bytes drops U+FEFF.
        assert found["decoded"] == [text.replace("\ufeff", "") for text in decoded]


def use(
    directory: Path, *, texts: Sequence[str], ids: Sequence[Sequence[int]]
) -> dict[str, list[object]]:
    packages = node_modules_with(*PACKAGES)
    asked = {"directory": str(directory), "texts": texts, "ids": ids}
    question = directory / "question.json"
    question.write_text(json.dumps(asked | {"conversations": CONVERSATIONS}), encoding="utf-8")
    # Node looks for packages beside the program.
    program = Path(shutil.copy(PROGRAM, packages / PROGRAM.name))
    done = subprocess.run(
        ["node", str(program), str(question)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, list[object]] = json.loads(done.stdout)
    return told
