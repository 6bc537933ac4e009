"""A saved adapter in the hands of peft: its README's program is right, and no other one is wrong
without an error."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForSeq2SeqLM
from transformers import AutoModelForSeq2SeqLM

from flant5_train.models.tokenizer import load_tokenizer
from tests.flant5_train.adapter_runs import logits
from tests.flant5_train.runs import Run

# peft asks a model for it by a name that transformers has renamed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def test_the_readmes_program_loads_the_merged_model(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = finished.output_dir / "adapter"
    text = (adapter / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(adapter)
    names: dict[str, Any] = {}
    exec(compile(program, "adapter/README.md", "exec"), names)
    merged = logits(AutoModelForSeq2SeqLM.from_pretrained(finished.output_dir))
    tokens = slice(len(load_tokenizer(finished.output_dir)))  # rows beyond stand for nothing
    torch.testing.assert_close(
        logits(names["model"])[..., tokens], merged[..., tokens], rtol=1e-5, atol=1e-5
    )
    ids = names["tokenizer"]("def f(x):\n\treturn {x}")["input_ids"]
    assert ids == load_tokenizer(finished.output_dir)("def f(x):\n\treturn {x}")["input_ids"]


@pytest.mark.parametrize("saved", ["adapter", "checkpoint-6"])
def test_pefts_own_loader_fails_instead_of_answering_nonsense(finished: Run, saved: str) -> None:
    """With the tokenizer's files beside the adapter's it resizes and ties the output layer."""
    directory = finished.output_dir / saved
    assert not [path for path in directory.glob("*token*") if path.is_file()]
    assert not (directory / "spiece.model").exists()
    with pytest.raises(IndexError):
        logits(AutoPeftModelForSeq2SeqLM.from_pretrained(str(directory)))


@pytest.mark.parametrize("saved", ["adapter", "checkpoint-6"])
def test_its_tokenizer_is_found_in_a_folder_of_its_own(finished: Run, saved: str) -> None:
    found = load_tokenizer(finished.output_dir / saved)
    whole = load_tokenizer(finished.output_dir)
    assert found.fingerprint == whole.fingerprint


def test_weights_are_as_readable_as_the_files_beside_them(finished: Run) -> None:
    def mode(path: Path) -> int:
        return path.stat().st_mode & 0o777

    weights = [*finished.output_dir.rglob("*.safetensors")]
    assert len(weights) == 4, "the model, the adapter and two checkpoints"
    assert {mode(path) for path in weights} == {mode(finished.output_dir / "config.json")}
