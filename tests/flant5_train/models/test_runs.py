"""Runs of LoRA from training to a model, and what they leave."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from flant5_train.models.loading import load_model
from flant5_train.models.lora import read_record
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.model_files import ADAPTER_WEIGHTS
from flant5_train.protocol.progress import CheckpointSaved, Evaluated
from tests.flant5_train.adapter_runs import logits, train_here
from tests.flant5_train.runs import Run, run

NUM_NEW_TOKENS = 269
"""What lossless tokenization adds to the trained vocabulary."""
FULL: dict[str, object] = {"finetuning_type": "full", "lora_rank": 16}


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(directory / "model.safetensors")


def test_only_the_additions_and_the_rows_of_new_tokens_are_trained(
    base: Path, finished: Run
) -> None:
    untrained = load_model(base, load_tokenizer(base)).state_dict()
    record = read_record(finished.output_dir / "adapter")
    new = slice(record.num_base_tokens, record.num_tokens)
    assert len(range(*new.indices(10_000))) == NUM_NEW_TOKENS
    changed = set()
    for name, weight in weights(finished.output_dir).items():
        before = untrained[name]
        if name in ("shared.weight", "lm_head.weight"):
            kept = torch.ones(len(weight), dtype=torch.bool)
            kept[new] = False
            assert torch.equal(weight[kept], before[kept]), name
            assert not torch.equal(weight[new], before[new]), name
        elif not torch.equal(weight, before):
            changed.add(name.split(".")[-2])
    assert changed == {"q", "k", "v", "o", "wi_0", "wi_1", "wo"}


def test_a_checkpoint_and_the_saved_adapter_hold_nothing_of_the_base(
    base: Path, finished: Run
) -> None:
    for directory in (finished.output_dir / "checkpoint-3", finished.output_dir / "adapter"):
        assert not (directory / "model.safetensors").exists()
        tensors = safetensors.torch.load_file(directory / ADAPTER_WEIGHTS)
        rows = {name: t for name, t in tensors.items() if "trainable_tokens" in name}
        additions = tensors.keys() - rows.keys()
        assert {tuple(t.shape) for t in rows.values()} == {(NUM_NEW_TOKENS, 32)}
        assert len(rows) == 3
        assert all(".lora_A." in name or ".lora_B." in name for name in additions)
        assert len(additions) == 2 * (4 + 8 + 3 + 3), "one layer each"
    saved = [r.path for r in finished.records() if isinstance(r, CheckpointSaved)]
    assert saved == [str(finished.output_dir / f"checkpoint-{step}") for step in (3, 6)]


# peft asks a model for it by a name that transformers has renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_base_and_adapter_under_plain_peft_are_the_merged_model(
    base: Path, finished: Run, tmp_path: Path
) -> None:
    load_model(base, load_tokenizer(base)).save_pretrained(tmp_path)
    plain = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    # transformers 5 sets True for every T5, and peft would leave the output layer's rows out.
    plain.config.tie_word_embeddings = False
    adapted: Any = PeftModel.from_pretrained(plain, str(finished.output_dir / "adapter"))
    untrained = logits(load_model(base, load_tokenizer(base)))
    merged = logits(AutoModelForSeq2SeqLM.from_pretrained(finished.output_dir))
    assert (merged - untrained).abs().max() > 0.1, "training changed something"
    torch.testing.assert_close(logits(adapted), merged, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(adapted.merge_and_unload()), merged, rtol=1e-5, atol=1e-5)


def test_the_result_is_a_plain_model_with_its_tokenizer(finished: Run) -> None:
    config = json.loads((finished.output_dir / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert not (finished.output_dir / "adapter_config.json").exists()
    text = "def f(x):\n\treturn {x}  # ok"
    tokenizer = AutoTokenizer.from_pretrained(finished.output_dir)
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    generation = json.loads((finished.output_dir / "generation_config.json").read_text())
    assert generation["max_new_tokens"] == 96


def test_an_adapter_is_evaluated_while_it_is_trained(finished: Run) -> None:
    evaluations = [record for record in finished.records() if isinstance(record, Evaluated)]
    assert [record.step for record in evaluations] == [3, 6]
    assert evaluations[1].eval_loss < evaluations[0].eval_loss


@pytest.mark.parametrize(
    "step",
    [5, pytest.param(15, marks=pytest.mark.stack), pytest.param(24, marks=pytest.mark.stack)],
)
def test_a_resumed_adapter_run_ends_bit_identical_to_an_uninterrupted_one(
    base: Path, tmp_path: Path, step: int
) -> None:
    settings = {"max_steps": 24, "save_steps": 5, "save_total_limit": 9, "lora_dropout": 0.3}
    whole = train_here(tmp_path / "whole", base, **settings)
    (tmp_path / "resumed").mkdir()
    name = f"checkpoint-{step}"
    shutil.copytree(whole.output_dir / name, tmp_path / "resumed" / name)
    resumed = train_here(tmp_path / "resumed", base, **settings)
    losses = [(record.step, record.loss) for record in resumed.steps()]
    assert losses == [(record.step, record.loss) for record in whole.steps()[step:]]
    assert resumed.weights() == whole.weights()


@pytest.mark.stack
def test_two_processes_train_and_resume_as_one_does(base: Path, tmp_path: Path) -> None:
    same: dict[str, object] = {"max_steps": 4, "save_steps": 2, "lora_dropout": 0.0}
    same |= {"batching": "padded"}  # a step holds the same pairs however it is split
    same |= {"finetuning_type": "lora", "lora_rank": 4, "learning_rate": 1e-2, "warmup_ratio": 0}
    one = train_here(tmp_path / "one", base, **same)
    same |= {"model_name_or_path": base, "per_device_train_batch_size": 2}
    two = run(tmp_path / "two", processes=2, **same)
    assert two.exit_code == 0, two.log
    for ours, theirs in zip(one.steps(), two.steps(), strict=True):
        assert theirs.loss == pytest.approx(ours.loss, rel=1e-5)
        assert theirs.grad_norm == pytest.approx(ours.grad_norm, rel=1e-4)
    resumed_dir = tmp_path / "resumed"
    shutil.copytree(two.output_dir / "checkpoint-2", resumed_dir / "checkpoint-2")
    resumed = run(resumed_dir, processes=2, **same)
    assert resumed.exit_code == 0, resumed.log
    assert [step.loss for step in resumed.steps()] == [step.loss for step in two.steps()[2:]]
    assert resumed.weights() == two.weights()


def test_a_checkpoint_is_a_model_to_start_from(base: Path, finished: Run, tmp_path: Path) -> None:
    checkpoint = finished.output_dir / "checkpoint-6"
    loaded = logits(load_model(checkpoint, load_tokenizer(checkpoint)))
    merged = logits(AutoModelForSeq2SeqLM.from_pretrained(finished.output_dir))
    assert torch.equal(loaded, merged)
    again = train_here(tmp_path / "again", checkpoint, max_steps=2, save_steps=1)
    record = read_record(again.output_dir / "adapter")
    assert record.base == str(checkpoint)
    assert record.new_rows == [], "its base knows all tokens"
    final = logits(AutoModelForSeq2SeqLM.from_pretrained(again.output_dir))
    chained = load_model(again.output_dir / "checkpoint-2", load_tokenizer(checkpoint))
    assert torch.equal(logits(chained), final)
    full = train_here(tmp_path / "full", again.output_dir / "checkpoint-1", max_steps=1, **FULL)
    assert weights(full.output_dir).keys() == weights(finished.output_dir).keys()


def test_bfloat16_and_recomputed_activations_train_an_adapter_too(
    base: Path, tmp_path: Path
) -> None:
    same = {"max_steps": 3, "lora_dropout": 0.0}
    plain = train_here(tmp_path / "plain", base, **same)
    recomputed = train_here(tmp_path / "recomputed", base, gradient_checkpointing=True, **same)
    for name, weight in weights(plain.output_dir).items():
        torch.testing.assert_close(weights(recomputed.output_dir)[name], weight, rtol=0, atol=1e-4)
    rounded = train_here(tmp_path / "rounded", base, bf16=True, **same)
    for ours, theirs in zip(plain.steps(), rounded.steps(), strict=True):
        assert theirs.loss == pytest.approx(ours.loss, rel=0.02)
    assert {w.dtype for w in weights(rounded.output_dir).values()} == {torch.float32}
