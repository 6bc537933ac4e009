"""The vocabulary for benchmarks: T5's own if it is available."""

import os
from itertools import islice
from pathlib import Path

from benchmarks.talks import talks
from flant5_train.demo_model import train_vocabulary
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE

_REPOSITORY = Path(__file__).parents[1]
_TEST_DATA = Path(os.environ.get("FLANT5_TEST_DATA", _REPOSITORY.parent / "shared"))


def vocabulary(scratch: Path) -> Path:
    """Returns a directory with T5's vocabulary, located as in the tests.

    Without it, trains a vocabulary of 4,000 pieces on synthetic conversations.
    """
    if (_TEST_DATA / "t5-tokenizer").exists():
        return _TEST_DATA / "t5-tokenizer"
    directory = scratch / "vocabulary"
    directory.mkdir()
    texts = (str(talk["conversations"]) for talk in islice(talks(seed=1), 500))
    (directory / SENTENCEPIECE_FILE).write_bytes(train_vocabulary(texts))
    return directory
