"""Example plan for the OpenAPI document."""

from api.hyperparameters import echo
from api.schemas.jobs import EchoedHyperparameters
from api.schemas.plans import (
    JobPlan,
    PlannedDisk,
    PlannedMemory,
    PlannedSpec,
    PlannedTime,
    PlanWarning,
)
from flant5_train.protocol.forecast import (
    BatchesForecast,
    DataForecast,
    LargestForecast,
    ModelForecast,
    PairsForecast,
)
from worker.jobs.spec import JobSpec

_GIB = 2**30


def plan_example(spec: JobSpec) -> JobPlan:
    """Returns the plan of a small job. Its numbers are consistent, as in a real plan."""
    return JobPlan(
        is_feasible=True,
        spec=PlannedSpec(**{**dict(spec), "hyperparameters": _settled(spec)}),
        data=DataForecast(counted="exact", note=None, training=_pairs(), validation=None),
        batches=_batches(),
        model=ModelForecast(
            sizes_from="the published sizes of google/flan-t5-base",
            num_weights=247_795_200,
            num_trained=247_795_200,
            flops=210_000_000_000_000,
        ),
        model_note=None,
        memory=PlannedMemory(
            total_bytes=9 * _GIB,
            weights_bytes=991_180_800,
            gradients_bytes=991_180_800,
            optimizer_bytes=1_982_361_600,
            activations_bytes=3 * _GIB,
            working_bytes=2 * _GIB,
            gpu_bytes=80 * _GIB,
            fits=True,
            suggestions=(),
            gpu_from="gpu-0",
            reason=None,
        ),
        disk=PlannedDisk(
            checkpoint_bytes=2_973_542_400,
            model_bytes=991_180_800,
            num_checkpoints=3,
            peak_bytes=9_911_808_000,
            kept_bytes=6_938_265_600,
            free_bytes=400 * _GIB,
            fits=True,
        ),
        time=PlannedTime(
            seconds=52.0,
            steps_seconds=31.0,
            other_seconds=21.0,
            tokens_per_second=41_200.0,
            tflops=121.0,
            num_measured_jobs=2,
            reason=None,
        ),
        auto="auto: learning_rate 0.0001, because the base model has 247.8 million weights",
        warnings=(
            PlanWarning(
                level="warning",
                code="no_validation",
                message="there is no validation data, so overfitting will go unnoticed; "
                "set validation_split or a validation_file",
                param="validation_file",
            ),
        ),
    )


def _settled(spec: JobSpec) -> EchoedHyperparameters:
    return echo(spec.hyperparameters.model_copy(update={"learning_rate": 1e-4}))


def _pairs() -> PairsForecast:
    return PairsForecast(
        is_trainable=True,
        conversations=277,
        pairs=746,
        source_tokens=96_000,
        target_tokens=41_000,
        longest_source=1012,
        longest_target=402,
        truncated_sources=0,
        truncated_targets=0,
        source_tokens_lost=0,
        target_tokens_lost=0,
        repeats=0,
        left_out={},
        num_problems=0,
        problems=(),
    )


def _batches() -> BatchesForecast:
    return BatchesForecast(
        steps_per_epoch=94,
        num_steps=188,
        num_epochs=2.0,
        micro_batches_per_epoch=94,
        pairs_per_step=7.94,
        source_fill=0.98,
        target_fill=0.98,
        source_tokens=192_000,
        target_tokens=82_000,
        largest=LargestForecast(
            num_pairs=5,
            longest_source=1012,
            longest_target=402,
            source_places=1024,
            target_places=448,
        ),
    )
