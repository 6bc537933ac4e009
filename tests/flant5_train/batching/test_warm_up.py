"""The largest micro-batch is run first and leaves no trace."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

from flant5_train.batching.loader import memory_dry_run
from flant5_train.config import Batching
from flant5_train.model_card.card import RunMetadata
from flant5_train.protocol.failure import TrainingError
from flant5_train.training.callbacks.reporting import ignore_record
from flant5_train.training.run import _build_trainer, parse_run
from flant5_train.training.stopping import StopSignal
from flant5_train.training.trainer import ConversationTrainer
from tests.flant5_train.runs import some_examples


def trainer(model: Path, tmp_path: Path, batching: Batching = "padded") -> ConversationTrainer:
    flags = {
        "model_name_or_path": model,
        "data_path": some_examples(tmp_path / "talks.json", 20),
        "output_dir": tmp_path / "out",
        "model_max_length": 96,
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "batching": batching,
        "report_to": "none",
    }
    argv = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    arguments = parse_run(argv)
    return _build_trainer(arguments, RunMetadata.of(arguments), ignore_record, StopSignal())[0]


class Watched(nn.Module):
    """Says what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))


def test_neither_gradients_nor_drawn_numbers_are_left() -> None:
    model = Watched()
    seen: list[torch.Tensor] = []

    def step(given: nn.Module) -> None:
        model.layer(torch.ones(2, 8)).sum().backward()
        seen.extend(weight.grad for weight in given.parameters() if weight.grad is not None)

    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    memory_dry_run(step, model, room_for=2)
    assert torch.equal(torch.rand(4), expected)
    assert len(seen) == 2
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("batching", get_args(Batching))
def test_training_is_bit_identical_with_and_without_it(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batching: Batching
) -> None:
    ran: list[dict[str, torch.Tensor]] = []
    with_it, without = (trainer(tiny_model, tmp_path, batching) for _ in range(2))
    step = with_it.training_step

    def remembered(model: nn.Module, inputs: dict[str, torch.Tensor], num_items: Any) -> Any:
        ran.append(inputs)
        return step(model, inputs, num_items)

    monkeypatch.setattr(with_it, "training_step", remembered)
    monkeypatch.setattr(without, "_run_largest_batch", lambda: None)
    for each in (with_it, without):
        torch.manual_seed(5)
        each.train()
    largest = with_it._batches.largest()
    assert len(ran) == 4
    assert all(torch.equal(ran[0][name], largest[name]) for name in largest)
    assert with_it.state.num_input_tokens_seen == without.state.num_input_tokens_seen > 0
    losses = [[e["loss"] for e in each.state.log_history[:3]] for each in (with_it, without)]
    assert losses[0] == losses[1]
    assert with_it.model is not None
    assert without.model is not None
    for ours, theirs in zip(with_it.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_processes_with_different_plans_do_not_train(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tiny_model, tmp_path)
    monkeypatch.setattr(one.accelerator, "gather", lambda own: torch.cat([own, own + 1]))
    with pytest.raises(TrainingError, match="planned different batches"):
        one.train()
