"""QLoRA from training to a plain model. Needs bitsandbytes; meant for an NVIDIA GPU:

    pip install bitsandbytes && python -m pytest tests/flant5_train/test_qlora_cuda.py

bitsandbytes has kernels for processors too. Where there is no GPU the same tests run on those, past
the refusal that a run would meet.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import safetensors.torch
import torch
from transformers import AutoModelForSeq2SeqLM

from flant5_train.models.loading import load_model
from flant5_train.models.lora import attach, four_bits, load_adapter, read_record
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.failure import TrainingError
from flant5_train.protocol.model_files import ADAPTER_WEIGHTS
from flant5_train.training import adapter_trainer
from tests.flant5_train.adapter_runs import logits, save_base_model, train_here
from tests.flant5_train.runs import Run

pytestmark = [
    pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"),
    pytest.mark.filterwarnings("ignore"),  # a library of others, in any version
]
HAS_GPU = torch.cuda.is_available()


@pytest.fixture(scope="module")
def base(trained_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As wide as a block of numbers that share a scale: the kernels for processors ask for it."""
    directory = tmp_path_factory.mktemp("models") / "base"
    return save_base_model(trained_vocabulary, directory, d_model=64, d_kv=16, d_ff=128)


@pytest.fixture(autouse=True)
def _on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    if not HAS_GPU:
        monkeypatch.setattr(adapter_trainer, "check_qlora_available", lambda: None)


def train(output_dir: Path, base: Path, **settings: object) -> Run:
    same = {"finetuning_type": "qlora", "bf16": True, "max_steps": 6, "save_steps": 3}
    return train_here(output_dir, base, **same | settings)


def test_the_blocks_are_held_in_four_bits_and_what_is_trained_in_float32(base: Path) -> None:
    model = adapter_trainer._load_quantized(str(base), load_tokenizer(base), in_bfloat16=True)
    kinds = {
        (name.rpartition(".")[2], module.weight.dtype)
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding))
    }
    assert kinds == {
        *((name, torch.uint8) for name in ("q", "k", "v", "o", "wi_0", "wi_1")),
        ("wo", torch.bfloat16),
        ("shared", torch.float32),
        ("lm_head", torch.float32),
        ("relative_attention_bias", torch.float32),
    }
    assert (model.lm_head.weight.device.type == "cuda") == HAS_GPU


def test_a_qlora_run_saves_an_adapter_and_a_whole_model_in_float32(
    base: Path, tmp_path: Path
) -> None:
    finished = train(tmp_path / "out", base, gradient_checkpointing=True)
    losses = [step.loss for step in finished.steps()]
    assert losses[-1] < losses[0]
    weights = safetensors.torch.load_file(finished.output_dir / "model.safetensors")
    untrained = load_model(base, load_tokenizer(base)).state_dict()
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert weights.keys() <= untrained.keys()
    norms = [name for name in weights if "norm" in name or "bias" in name]
    assert norms
    assert all(torch.equal(weights[name], untrained[name]) for name in norms)
    config = AutoModelForSeq2SeqLM.from_pretrained(finished.output_dir).config
    assert not hasattr(config, "quantization_config")
    adapter = safetensors.torch.load_file(finished.output_dir / "adapter" / ADAPTER_WEIGHTS)
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}


def test_merging_carries_over_what_was_learned_on_the_rounded_base(
    base: Path, tmp_path: Path
) -> None:
    finished = train(tmp_path / "out", base, bf16=False)
    adapter = finished.output_dir / "adapter"
    tokenizer = load_tokenizer(base)
    quantized = load_model(base, tokenizer, quantization=four_bits(compute_in_bfloat16=False))
    attach(quantized, read_record(adapter), seed=0)
    rounded = logits(quantized)
    load_adapter(quantized, adapter)
    learned = logits(quantized) - rounded
    merged = logits(AutoModelForSeq2SeqLM.from_pretrained(finished.output_dir))
    carried_over = merged - logits(load_model(base, tokenizer))
    # Not equal, since rounding changes what an addition is multiplied with: 0.22 was seen.
    assert (carried_over - learned).norm() < learned.norm() / 3


def test_a_qlora_run_resumes(base: Path, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", base)
    (tmp_path / "resumed").mkdir()
    shutil.copytree(whole.output_dir / "checkpoint-3", tmp_path / "resumed" / "checkpoint-3")
    resumed = train(tmp_path / "resumed", base)
    assert [step.step for step in resumed.steps()] == [4, 5, 6]
    for ours, theirs in zip(resumed.steps(), whole.steps()[3:], strict=True):
        # On a GPU, rows that several tokens share are summed up in any order.
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4 if HAS_GPU else 0)


def test_qlora_from_the_checkpoint_of_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    finished = train_here(tmp_path / "lora", base, max_steps=1, save_steps=1)
    with pytest.raises(TrainingError, match="expected the final model of its run"):
        train(tmp_path / "out", finished.output_dir / "checkpoint-1")
