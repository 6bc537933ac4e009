"""Each optimizer that a caller may choose trains, and goes on from a checkpoint as before it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from flant5_train.arguments import TrainingArguments
from flant5_train.config import Hyperparameters
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.training.fsdp import ShardingTrainer

OPTIMIZERS = ("adamw_torch_fused", "adamw_torch", "adafactor")


def trainer(tiny_model: Path, output_dir: Path, *, optim: str) -> ShardingTrainer:
    tokenizer = load_tokenizer(tiny_model)
    model: Any = load_model(tiny_model, tokenizer)
    model.accepts_loss_kwargs = False
    pair = {"input_ids": torch.arange(3, 19), "labels": torch.arange(30, 38)}
    arguments = TrainingArguments(
        output_dir=str(output_dir),
        optim=optim,
        learning_rate=1e-3,
        max_steps=6,
        save_steps=3,
        report_to=[],
    )
    # Set by the run itself, and refused from a command line.
    arguments.train_sampling_strategy = "sequential"
    return ShardingTrainer(
        model=model,
        args=arguments,
        train_dataset=[pair] * 48,
        data_collator=DataCollatorForSupervisedDataset(tokenizer),
    )


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_it_trains_and_a_resumed_run_ends_bit_identical(
    tiny_model: Path, tmp_path: Path, optim: str
) -> None:
    whole = trainer(tiny_model, tmp_path, optim=optim)
    whole.train()
    losses = [entry["loss"] for entry in whole.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] - 0.1
    resumed = trainer(tiny_model, tmp_path, optim=optim)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert isinstance(whole.model, torch.nn.Module)
    assert isinstance(resumed.model, torch.nn.Module)
    expected = dict(whole.model.named_parameters())
    for name, parameter in resumed.model.named_parameters():
        assert torch.equal(parameter, expected[name]), name


def test_adafactor_takes_the_learning_rate_that_it_is_told(
    tiny_model: Path, tmp_path: Path
) -> None:
    optimizer = trainer(tiny_model, tmp_path, optim="adafactor").create_optimizer()
    settings = optimizer.param_groups[0]
    assert (settings["scale_parameter"], settings["relative_step"]) == (False, False)
    assert settings["lr"] == 1e-3


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_a_caller_may_choose_it(optim: Any) -> None:
    assert Hyperparameters(optim=optim).optim == optim


def test_adafactor_is_not_sharded() -> None:
    with pytest.raises(ValueError, match="whose state can't be sharded"):
        Hyperparameters(optim="adafactor", sharding="fsdp")
