"""A real model that was pushed: loaded by its name it answers as the directory does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flant5_train.runs import run
from tests.hub.hub import READ_TOKEN, WRITE_TOKEN, Hub
from tests.hub.server import hub_server
from tests.worker.integrations.test_hub_push import NAME, environment

ANSWERS = """
import sys
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForSeq2SeqLM.from_pretrained(sys.argv[1])
batch = tokenizer(["### Human: Hello, {you}\\n### Assistant: "], return_tensors="pt")
print(batch["input_ids"].tolist(), model.generate(**batch, max_new_tokens=12).tolist())
"""


@pytest.mark.stack
def test_a_pushed_model_answers_as_the_directory_does(tmp_path: Path) -> None:
    """A run of the trainer, and two processes that load what it made."""
    trained = run(
        tmp_path / "output", model_name_or_path="flant5-demo", max_steps=2, model_max_length=64,
        models_directory=tmp_path / "models",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.log
    with hub_server(Hub()) as hub:
        told = environment(tmp_path, xet=False)
        argv = [sys.executable, "-m", "tests.worker.integrations.pushes", str(trained.output_dir)]
        subprocess.run([*argv, hub.url, NAME, WRITE_TOKEN], env=told, check=True, timeout=120)
        here = answers(str(trained.output_dir), told)
        there = answers(NAME, told | {"HF_ENDPOINT": hub.url, "HF_TOKEN": READ_TOKEN})
        assert here == there
        names = set(hub.repositories[NAME].branches["main"][-1].files)
    assert names == {
        ".gitattributes", "README.md", "config.json", "generation_config.json", "loss.png",
        "model.safetensors", "spiece.model", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def answers(name: str, environment: dict[str, str]) -> str:
    argv = [sys.executable, "-c", ANSWERS, name]
    finished = subprocess.run(
        argv, env=os.environ | environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
