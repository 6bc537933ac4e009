from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from transformers import T5ForConditionalGeneration

from flant5_train.arguments import parse_arguments
from flant5_train.batching.cost import TokenBudget
from flant5_train.batching.plan import PlanSettings, RunPlan
from flant5_train.batching.schedule import StepShape
from flant5_train.config import Batching
from flant5_train.data.pairs import PairLengths
from flant5_train.demo_model import small_config
from flant5_train.estimates.flops import ModelShape
from flant5_train.estimates.memory import (
    GIB,
    MicroBatch,
    Setup,
    estimate_memory,
    num_trained,
    num_weights,
)
from flant5_train.estimates.memory_plan import MAX_SUGGESTIONS, plan_memory
from flant5_train.training.telemetry import memory_planned, setup_of
from worker.execution.progress import event_from_record

XL = ModelShape(2048, 64, 32, 5120, 24, 24, 32128)
BASE = ModelShape(768, 64, 12, 2048, 12, 12, 32128)
BATCH = MicroBatch(6, 6016, 2176, 2048, 2048, "packed")
XL_ALONE = Setup(XL, BATCH)
XL_ON_EIGHT = replace(XL_ALONE, num_gpus=8)


def total(setup: Setup) -> int:
    return estimate_memory(setup).total


def test_the_weights_are_those_of_the_model() -> None:
    config = small_config(
        d_model=32, d_kv=16, num_heads=3, d_ff=48, num_layers=2, num_decoder_layers=3, vocab_size=64
    )
    model = T5ForConditionalGeneration(config)
    model.set_input_embeddings(model.shared)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert num_weights(ModelShape.of(config)) == counted


def test_weights_gradients_and_moments_are_sixteen_bytes_a_weight() -> None:
    estimate = estimate_memory(XL_ALONE)
    assert estimate.weights + estimate.gradients + estimate.optimizer == 16 * num_weights(XL)
    shards = estimate_memory(replace(XL_ON_EIGHT, is_sharded=True))
    assert shards.weights + shards.gradients + shards.optimizer == 2 * num_weights(XL)


def test_adafactor_keeps_almost_nothing_and_lora_trains_almost_nothing() -> None:
    assert estimate_memory(replace(XL_ALONE, optim="adafactor")).optimizer < 0.02 * GIB
    lora = replace(XL_ALONE, finetuning_type="lora")
    assert num_trained(lora) < 0.02 * num_weights(XL)
    assert estimate_memory(lora).optimizer == 8 * num_trained(lora)
    qlora = estimate_memory(replace(XL_ALONE, finetuning_type="qlora"))
    assert qlora.weights < 0.25 * estimate_memory(lora).weights


@pytest.mark.parametrize("base", [XL_ALONE, replace(XL_ON_EIGHT, is_sharded=True)])
@pytest.mark.parametrize("checkpoints", [False, True])
def test_more_of_anything_takes_more_memory(base: Setup, checkpoints: bool) -> None:
    base = replace(base, gradient_checkpointing=checkpoints)
    for name in ("source_places", "target_places"):
        more: Any = {name: 2 * getattr(BATCH, name)}
        assert total(replace(base, batch=replace(BATCH, **more))) > total(base)
    for name in ModelShape.__slots__:
        larger: Any = {name: 2 * getattr(XL, name)}
        assert total(replace(base, shape=replace(XL, **larger))) > total(base), name


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gradient_checkpointing", True),
        ("optim", "adafactor"),
        ("finetuning_type", "lora"),
        ("is_sharded", True),
        ("batch", BATCH.halved()),
    ],
)
def test_each_saving_saves(setting: str, value: object) -> None:
    saved: Any = {setting: value}
    assert total(replace(XL_ON_EIGHT, **saved)) < total(XL_ON_EIGHT)


def test_shards_get_smaller_with_more_gpus() -> None:
    totals = [total(replace(XL_ON_EIGHT, is_sharded=True, num_gpus=n)) for n in (2, 4, 8, 64)]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize("batching", get_args(Batching))
def test_the_micro_batch_is_the_largest_of_the_plan(batching: Batching) -> None:
    """Bucketed ones hold up to twice what their number of pairs of mean length would."""
    plan = run_plan(batching, num_pairs=4)
    batch = MicroBatch.of(plan.largest, num_pairs=4, batching=batching)
    assert batch.longest_source == plan.lengths.source[list(plan.largest.pairs)].max()
    if batching == "packed":
        assert plan.row_capacity == TokenBudget(batch.source_places, batch.target_places)
    else:
        assert batch.source_places == plan.largest.num_pairs * batch.longest_source
    assert batch.num_pairs == 4
    assert batch.halved().num_pairs == 2
    assert batch.halved().source_places == max(batch.source_places // 2, batch.longest_source)


def run_plan(batching: Batching, *, num_pairs: int) -> RunPlan:
    rng = np.random.default_rng(0)
    lengths = PairLengths(rng.integers(20, 400, 200), rng.integers(5, 90, 200))
    return RunPlan(lengths, PlanSettings(batching, num_pairs, StepShape(1, 1), 1, -1, 42))


def test_what_fits_needs_no_suggestion() -> None:
    plan = plan_memory(Setup(BASE, BATCH), gpu_bytes=80 * GIB)
    assert plan.fits
    assert plan.suggestions == ()
    assert plan.sentence().endswith("of 80.0 GiB of each GPU: it fits")


def test_suggestions_name_settings_that_make_it_fit() -> None:
    plan = plan_memory(XL_ON_EIGHT, gpu_bytes=80 * GIB)
    assert not plan.fits
    assert plan.suggestions[:2] == (
        "set sharding=fsdp over the 8 GPUs",
        "set gradient_checkpointing=true",
    )
    assert total(replace(XL_ON_EIGHT, is_sharded=True)) <= 80 * GIB


@pytest.mark.parametrize("gpu_gib", [8, 16, 24, 40, 80])
@pytest.mark.parametrize("setup", [XL_ALONE, XL_ON_EIGHT, Setup(BASE, BATCH, bf16=False)])
def test_every_suggestion_fits_by_the_estimate(setup: Setup, gpu_gib: int) -> None:
    plan = plan_memory(setup, gpu_bytes=gpu_gib * GIB)
    assert len(plan.suggestions) <= MAX_SUGGESTIONS
    for suggestion in plan.suggestions:
        changed = with_settings(setup, suggestion)
        assert total(changed) <= gpu_gib * GIB, suggestion
    if not plan.fits and not plan.suggestions:
        assert total(replace(setup, gradient_checkpointing=True)) > gpu_gib * GIB


def with_settings(setup: Setup, suggestion: str) -> Setup:
    """The setup that a caller who follows the suggestion gets."""
    assert suggestion.startswith("set ")
    settings: dict[str, Any] = {}
    for part in suggestion.removeprefix("set ").split(" and "):
        name, _, value = part.partition("=")
        match name:
            case "bf16" | "gradient_checkpointing":
                settings[name] = True
            case "sharding":
                settings["is_sharded"] = True
            case "per_device_train_batch_size":
                batch = setup.batch
                while batch.num_pairs > int(value.split()[0]):
                    batch = batch.halved()
                settings["batch"] = batch
            case _:
                settings[name] = value
    return replace(setup, **settings)


def test_a_run_that_nothing_helps_gets_no_suggestion() -> None:
    plan = plan_memory(XL_ALONE, gpu_bytes=4 * GIB)
    assert not plan.fits
    assert plan.suggestions == ()
    assert plan.sentence().endswith("it may not fit")


def test_a_runs_arguments_decide_over_its_estimate(tmp_path: Path) -> None:
    told = ["--data_path", "talks.json", "--output_dir", str(tmp_path), "--bf16", "True"]
    told += ["--per_device_train_batch_size", "4", "--model_max_length", "512"]
    told += ["--batching", "padded"]
    told += ["--max_target_length", "128", "--gradient_checkpointing", "True"]
    arguments = parse_arguments(told)
    batches = run_plan("padded", num_pairs=4)
    setup = setup_of(arguments, config=XL, batches=batches)
    assert setup.shape == XL
    assert setup.batch == MicroBatch.of(batches.largest, num_pairs=4, batching="padded")
    assert setup.gradient_checkpointing
    assert setup.bf16
    assert setup.optim == "adamw_torch_fused"
    record = memory_planned(arguments, config=XL, batches=batches, gpu_bytes=80 * GIB)
    assert record.fits
    assert record.total_bytes == total(setup)
    assert event_from_record(record).level == "info"
    small = memory_planned(arguments, config=XL, batches=batches, gpu_bytes=40 * GIB)
    assert event_from_record(small).level == "warn"
    assert event_from_record(small).message == f"Memory: {small.message}"
