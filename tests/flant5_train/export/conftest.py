"""Finished runs of each kind, which answer what they were trained on."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.flant5_train.adapter_runs import save_base_model, train_here

PAIRS = {
    "What is the capital of France?": "Paris.",
    "Write code.": "def f(x):\n\tif x < 3:\n        return {x}",
    "Say hello.": "Hello!",
}
Exports = Mapping[str, Path]


@pytest.fixture(scope="package")
def exports(trained_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Output directories by tokenization and kind. LoRA goes on from what the full run left."""
    root = tmp_path_factory.mktemp("exports")
    talks = [
        {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
        for q, a in PAIRS.items()
    ]
    (root / "talks.json").write_text(json.dumps(talks), encoding="utf-8")
    base = save_base_model(trained_vocabulary, root / "base", d_model=64)
    for tokenization in ("lossless", "fastchat"):
        same = {"data_path": root / "talks.json", "tokenization": tokenization}
        full = root / f"{tokenization}-full"
        learned = {"max_steps": 120, "save_steps": 120, "learning_rate": 5e-3, "warmup_ratio": 0.1}
        train_here(full, base, finetuning_type="full", lora_rank=16, **same | learned)
        short = {"max_steps": 2, "save_steps": 1, "learning_rate": 1e-4}
        train_here(root / f"{tokenization}-lora", full, **same | short)
    names = ("lossless-full", "lossless-lora", "fastchat-full", "fastchat-lora")
    return {name: root / name for name in names}
