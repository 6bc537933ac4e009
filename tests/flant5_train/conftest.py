"""Vocabularies and small models for the trainer's tests."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from flant5_train.data.conversations import ConversationFile
from flant5_train.data.prompt import render_prompt
from flant5_train.demo_model import save_random_model, train_vocabulary
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE, LosslessTokenizer, load_tokenizer
from flant5_train.protocol.turns import Conversation

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples" / "conversations.json"
# The real T5 vocabulary is no part of the repository; where it lies beside it, it is used.
SHARED = Path(os.environ.get("FLANT5_TEST_DATA", REPOSITORY.parent / "shared"))
T5_VOCABULARY = SHARED / "t5-tokenizer"
FASTCHAT_PAIRS = SHARED / "golden" / "fastchat_pairs.json"

TINY = {
    "d_model": 32,
    "d_kv": 8,
    "num_heads": 4,
    "d_ff": 64,
    "num_layers": 1,
    "num_decoder_layers": 1,
}


@pytest.fixture(scope="session")
def examples() -> Sequence[Conversation]:
    return list(ConversationFile(EXAMPLES))


@pytest.fixture(scope="session")
def trained_vocabulary(
    examples: Sequence[Conversation], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A directory with a vocabulary of 1,000 pieces, trained on the examples."""
    directory = tmp_path_factory.mktemp("vocabulary")
    texts = [segment.text for talk in examples for segment in render_prompt(talk).segments]
    model = train_vocabulary(
        (line for text in texts for line in text.splitlines()), num_pieces=1000
    )
    (directory / SENTENCEPIECE_FILE).write_bytes(model)
    return directory


@pytest.fixture(scope="session")
def vocabulary(trained_vocabulary: Path) -> Path:
    """T5's own vocabulary where it is at hand, else the trained one."""
    return T5_VOCABULARY if T5_VOCABULARY.exists() else trained_vocabulary


@pytest.fixture(scope="session")
def lossless(vocabulary: Path) -> LosslessTokenizer:
    tokenizer = load_tokenizer(vocabulary)
    assert isinstance(tokenizer, LosslessTokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def tiny_model(trained_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that loads like a Flan-T5: one layer each, width 32, random weights."""
    directory = tmp_path_factory.mktemp("tiny")
    shutil.copy(trained_vocabulary / SENTENCEPIECE_FILE, directory)
    save_random_model(directory, sizes=TINY)
    return directory
