"""Epochs and learning rate that are left to a run."""

import json
from pathlib import Path

import numpy as np
import pytest

from flant5_train.arguments import parse_arguments
from flant5_train.batching.plan import PlanSettings, RunPlan
from flant5_train.batching.schedule import StepShape
from flant5_train.config import Batching, Hyperparameters, RunConfig
from flant5_train.data.pairs import PairLengths
from flant5_train.demo_model import small_config
from flant5_train.model_card.card import RunMetadata
from flant5_train.protocol.auto import AutoChoice
from flant5_train.training.run_settings import settle


def plan_of(num_pairs: int, *, batching: Batching = "packed", **changes: float | None) -> RunPlan:
    """Of pairs with the lengths of a short question and a short answer."""
    lengths = PairLengths(np.full(num_pairs, 60), np.full(num_pairs, 30))
    settings = PlanSettings(
        batching=batching,
        num_pairs=8,
        shape=StepShape(1, 1),
        num_epochs=changes.get("num_epochs"),
        max_steps=int(changes.get("max_steps") or -1),
        seed=42,
    )
    return RunPlan(lengths, settings)


@pytest.mark.parametrize("batching", ["packed", "bucketed", "padded"])
@pytest.mark.parametrize("num_pairs", [10, 50, 500, 1200])
def test_automatic_epochs_give_a_small_file_enough_steps(
    num_pairs: int, batching: Batching
) -> None:
    plan = plan_of(num_pairs, batching=batching)
    epochs = plan.chosen_epochs
    assert epochs is not None
    assert plan.num_steps == epochs * plan.steps_per_epoch
    assert 200 <= plan.num_steps < 200 + plan.steps_per_epoch or epochs in (3, 100)


def test_automatic_epochs_have_bounds() -> None:
    single, large = plan_of(1), plan_of(50_000)
    assert (single.chosen_epochs, single.num_steps) == (100, 100)
    assert large.chosen_epochs == 3


@pytest.mark.parametrize(
    ("given", "num_steps"),
    [({"num_epochs": 1}, 2), ({"num_epochs": 0.5}, 1), ({"max_steps": 3}, 3)],
)
def test_an_explicit_end_is_never_changed(given: dict[str, float], num_steps: int) -> None:
    plan = plan_of(10, batching="padded", **given)
    assert plan.num_steps == num_steps
    assert plan.chosen_epochs is None
    assert AutoChoice.of(plan, learning_rate=1e-5, num_weights=1).sentence() is None


@pytest.mark.parametrize(
    ("num_pairs", "num_weights", "sentence"),
    [
        (
            160,
            4_000_000,
            "auto: 10 epochs, 200 steps, because an epoch has 20 steps and at least 200 are needed;"
            " learning_rate 0.001, because the base model has 4.0 million weights",
        ),
        (
            8,
            77_000_000,
            "auto: 100 epochs, 100 steps, because an epoch has 1 step and 100 epochs are the"
            " maximum; learning_rate 0.0001, because the base model has 77.0 million weights",
        ),
        (
            8000,
            None,
            "auto: 3 epochs, 3000 steps, because an epoch has 1000 steps and 3 epochs are the"
            " minimum",
        ),
    ],
)
def test_the_choice_gives_its_reasons(
    num_pairs: int, num_weights: int | None, sentence: str
) -> None:
    plan = plan_of(num_pairs, batching="padded")
    assert AutoChoice.of(plan, learning_rate=None, num_weights=num_weights).sentence() == sentence


@pytest.mark.parametrize(
    ("given", "epochs", "learning_rate"),
    [
        (Hyperparameters(), 100.0, 1e-3),
        (Hyperparameters(num_train_epochs=2, learning_rate=3e-4), 2.0, 3e-4),
        (Hyperparameters(max_steps=7, learning_rate=3e-4), 3.5, 3e-4),
    ],
)
def test_a_run_trains_and_describes_itself_with_the_values_that_were_chosen(
    tmp_path: Path, given: Hyperparameters, epochs: float, learning_rate: float
) -> None:
    arguments = parse_arguments([str(written(tmp_path, given))])
    metadata = RunMetadata.of(arguments)
    training = arguments.training
    plan = plan_of(
        10, batching="padded", num_epochs=training.num_train_epochs, max_steps=training.max_steps
    )
    config = small_config(d_model=32, d_kv=8, num_heads=4, d_ff=64, num_layers=1, vocab_size=320)
    record = settle(arguments, plan=plan, config=config)
    assert (training.num_train_epochs, training.learning_rate) == (epochs, learning_rate)
    shown = metadata.settled(training).hyperparameters
    assert (shown["num_train_epochs"], shown["learning_rate"]) == (epochs, learning_rate)
    is_automatic = given == Hyperparameters()
    assert (record is not None) is is_automatic
    if record is not None:
        assert (record.num_train_epochs, record.learning_rate) == (epochs, learning_rate)
        assert record.message.startswith("auto: 100 epochs, 200 steps, because")


def written(directory: Path, hyperparameters: Hyperparameters) -> Path:
    config = RunConfig(
        model_name_or_path="flant5-demo",
        data_path=directory / "talks.json",
        run_directory=directory,
        cache_directory=directory,
        models_directory=directory,
        hyperparameters=hyperparameters,
    )
    path = directory / "run.json"
    config.write(path)
    values = json.loads(path.read_text())
    assert values["num_train_epochs"] == hyperparameters.num_train_epochs
    return path
