"""A base model without our tokens, and a finished run of LoRA on it."""

from pathlib import Path

import pytest

from tests.flant5_train.adapter_runs import save_base_model, train_here
from tests.flant5_train.runs import Run


@pytest.fixture(scope="package")
def base(trained_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base_model(trained_vocabulary, tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="package")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of six steps over the sequence: train, save, merge."""
    output_dir = tmp_path_factory.mktemp("lora") / "out"
    return train_here(
        output_dir, base, max_steps=6, save_steps=3, validation_split=0.02, eval_steps=3
    )
