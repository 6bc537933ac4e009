"""Sharded training (FSDP2) is training: the real trainer, two processes, on the CPU."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, T5ForConditionalGeneration

from flant5_train.arguments import TrainingArguments
from flant5_train.data.collator import DataCollatorForSupervisedDataset, PackedCollator
from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.failure import TrainingError
from flant5_train.protocol.progress import Evaluated
from flant5_train.training.fsdp import ShardingTrainer
from tests.flant5_train.runs import Run, run, some_examples
from tests.ports import free_port


@pytest.fixture(scope="module")
def settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The processes get unequal numbers of validation batches."""
    return {
        "model_name_or_path": tiny_model,
        "data_path": some_examples(tmp_path_factory.mktemp("data") / "talks.json", 40),
        "processes": 2,
        "max_steps": 6,
        "save_steps": 3,
        "eval_steps": 3,
        "validation_split": 0.1,
        "per_device_eval_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "save_total_limit": 9,
    }


@pytest.fixture(scope="module")
def sharded(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    finished = run(tmp_path_factory.mktemp("sharded"), sharding="fsdp", **settings)
    assert finished.exit_code == 0, finished.log
    return finished


def weights_of(finished: Run) -> dict[str, torch.Tensor]:
    return load_file(finished.output_dir / "model.safetensors")


def test_shards_train_like_the_whole_model(
    sharded: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    whole = run(tmp_path, **settings)
    assert whole.exit_code == 0, whole.log
    for ours, theirs in zip(sharded.steps(), whole.steps(), strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-4)
    evaluations = [
        [
            (each.step, each.eval_tokens, each.eval_loss)
            for each in finished.records()
            if isinstance(each, Evaluated)
        ]
        for finished in (sharded, whole)
    ]
    assert len(evaluations[0]) == 2
    for evaluation, expected in zip(*evaluations, strict=True):
        assert evaluation == pytest.approx(expected, rel=1e-5)
    ours_weights, their_weights = weights_of(sharded), weights_of(whole)
    assert ours_weights.keys() == their_weights.keys()
    for name, weight in ours_weights.items():
        # Where a gradient is next to nothing, its rounding decides over the sign of AdamW's step.
        torch.testing.assert_close(weight, their_weights[name], rtol=0, atol=1e-4, msg=name)


def test_a_sharded_model_is_saved_whole(sharded: Run) -> None:
    saved = weights_of(sharded)
    model = AutoModelForSeq2SeqLM.from_pretrained(sharded.output_dir)
    config = json.loads((sharded.output_dir / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    names = {name for name, _ in model.named_parameters()}
    assert saved.keys() == names, "each weight once"
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, saved[name])
    assert saved["lm_head.weight"].dtype == torch.float32
    assert not torch.equal(saved["lm_head.weight"], saved["shared.weight"])


def test_a_sharded_run_that_is_resumed_ends_bit_identical(
    sharded: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(sharded.output_dir / "checkpoint-3", tmp_path / "checkpoint-3")
    resumed = run(tmp_path, sharding="fsdp", **settings)
    assert resumed.exit_code == 0, resumed.log
    losses = [(step.step, step.loss) for step in resumed.steps()]
    assert losses == [(step.step, step.loss) for step in sharded.steps()[3:]]
    assert resumed.weights() == sharded.weights()


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process, as torchrun would have started it alone."""
    port = str(free_port())
    environment = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    environment |= {"OMP_NUM_THREADS": "1"}  # which accelerate warns about otherwise
    for name, value in (environment | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    if dist.is_initialized():
        dist.destroy_process_group()


def trainer(
    tiny_model: Path, output_dir: Path, *, packs: bool = False, **settings: Any
) -> ShardingTrainer:
    tokenizer = load_tokenizer(tiny_model)
    model: Any = load_model(tiny_model, tokenizer)
    model.accepts_loss_kwargs = False
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    pairs = [
        {"input_ids": torch.arange(3, 9 + length), "labels": torch.arange(3, 7 + length)}
        for length in range(24)
    ]
    collators = (DataCollatorForSupervisedDataset(tokenizer), PackedCollator(pad_token_id=0))
    return ShardingTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(output_dir), max_steps=3, save_strategy="no", report_to=[], **settings
        ),
        train_dataset=pairs,
        data_collator=collators[packs],
    )


def losses(trained: ShardingTrainer) -> list[float]:
    trained.train()
    logged = [entry for entry in trained.state.log_history if "loss" in entry]
    return [entry[name] for entry in logged for name in ("loss", "grad_norm")]


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("packs", [False, True])
def test_checkpointed_blocks_drop_the_same_when_they_are_computed_again(
    tiny_model: Path, tmp_path: Path, packs: bool
) -> None:
    """accelerate's own checkpointing of FSDP2 draws other dropout masks in the backward pass."""

    def trained(**settings: Any) -> list[float]:
        return losses(trainer(tiny_model, tmp_path, packs=packs, **settings))

    whole = trained()
    assert trained(sharding="fsdp") == pytest.approx(whole, rel=1e-5)
    assert trained(sharding="fsdp", gradient_checkpointing=True) == pytest.approx(whole, rel=1e-5)
    assert trained(gradient_checkpointing=True) == pytest.approx(whole, rel=1e-5)


@pytest.mark.usefixtures("one_process")
def test_bfloat16_computes_and_float32_keeps(tiny_model: Path, tmp_path: Path) -> None:
    trained = trainer(tiny_model, tmp_path, sharding="fsdp", bf16=True)
    model = trained.model
    assert isinstance(model, T5ForConditionalGeneration)
    seen = set()
    model.encoder.block[0].register_forward_hook(
        lambda block, inputs, output: seen.add(output[0].dtype)
    )
    trained.train()
    assert seen == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_what_cannot_be_sharded_is_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(TrainingError, match="without torchrun"):
        trainer(tiny_model, tmp_path, sharding="fsdp")
    with pytest.raises(TrainingError, match="adafactor"):
        trainer(tiny_model, tmp_path, sharding="fsdp", optim="adafactor")


def test_the_flag_of_fastchats_commands_shards(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), fsdp="full_shard auto_wrap")
    assert arguments.sharding == "fsdp"
