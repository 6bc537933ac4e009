"""Tiny models that answer."""

from pathlib import Path

import pytest
import torch

from flant5_train.demo_model import save_random_model, train_vocabulary
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE
from flant5_train.serving.model_cache import LoadedModel, load
from tests.flant5_train.conftest import EXAMPLES, TINY


@pytest.fixture(scope="session")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights that says something else to each question, of some length."""
    directory = tmp_path_factory.mktemp("talkative")
    lines = EXAMPLES.read_text(encoding="utf-8").splitlines()[:500]
    (directory / SENTENCEPIECE_FILE).write_bytes(train_vocabulary(iter(lines), num_pieces=300))
    save_random_model(directory, sizes=TINY)
    return directory


@pytest.fixture(scope="session")
def loaded(talkative: Path) -> LoadedModel:
    return load(str(talkative), device=torch.device("cpu"), max_source_tokens=256)
