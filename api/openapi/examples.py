"""Examples for the OpenAPI document, including a plan.

Each example is an instance of its response model, so it is always valid.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from api.routes.operations import Health, Readiness
from api.schemas.chat_completion import completion_example
from api.schemas.common import (
    CheckpointDeleted,
    Error,
    ErrorResponse,
    FileDeleted,
    JobDeleted,
    ModelDeleted,
)
from api.schemas.files import Artifact, FileObject, UploadObject, UploadPart
from api.schemas.history import CheckpointObject, EventObject, LogLineObject, Metrics
from api.schemas.jobs import CreateJob, EchoedHyperparameters, JobObject
from api.schemas.models import ModelObject, RecoveryObject
from api.schemas.plans import (
    FileReportObject,
    JobPlan,
    PlanInProgress,
    PlannedDisk,
    PlannedMemory,
    PlannedSpec,
    PlannedTime,
    PlanWarning,
    ReportInProgress,
)
from api.services.jobs import to_response
from flant5_train.config import Hyperparameters
from flant5_train.protocol.file_report import (
    Bucket,
    Cut,
    LengthSummary,
    Problems,
    Repeats,
    ReportedProblem,
    Tokens,
)
from flant5_train.protocol.forecast import (
    BatchesForecast,
    DataForecast,
    LargestForecast,
    ModelForecast,
    PairsForecast,
)
from worker.jobs.job import Job, JobProgressState, JobSpec, Status
from worker.jobs.storage.upload import UploadStatus
from worker.jobs.store.recovery import RestoredJob

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
    return to_response(spec.hyperparameters.model_copy(update={"learning_rate": 1e-4}))


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


_AT = 1795536277
_FILE_ID = "file-1htr6qd1f3401tqvf0erkpxmtj"
_JOB_ID = "ftjob-3kd8v0q2m5x7c9b1n4z6p8r0"
_MODEL = "ft:google/flan-t5-base:flant5:support:4z6p8r0t"
_UPLOAD_ID = "upload_1htr6qcykfmyjbkh9x0qbtc1wx"
_SPEC = JobSpec(
    model="google/flan-t5-base",
    training_file=_FILE_ID,
    suffix="support",
    metadata={"team": "help-desk"},
    hyperparameters=Hyperparameters(num_train_epochs=2, bf16=True),
)
_JOB = Job(
    id=_JOB_ID,
    spec=_SPEC,
    owner="alice",
    status=Status.RUNNING,
    phase="training",
    created_at=_AT,
    started_at=_AT + 3,
    attempt=1,
    worker="gpu-0",
    workers=("gpu-0",),
    last_heartbeat_at=_AT + 600,
    progress=JobProgressState(
        step=120, max_steps=480, percent=25.0, loss=1.42, tokens_per_second=41_200, eta_seconds=900
    ),
    trained_tokens=24_700_000,
)


@cache
def examples() -> Mapping[str, BaseModel]:
    """Returns the examples by model name."""
    file = FileObject(
        id=_FILE_ID, bytes=41193, created_at=_AT, filename="talks.jsonl", purpose="fine-tune"
    )
    all_examples: list[BaseModel] = [
        file,
        FileDeleted(id=_FILE_ID, freed_bytes=41388),
        ReportInProgress(file_id=_FILE_ID),
        UploadObject(
            id=_UPLOAD_ID,
            bytes=41193,
            created_at=_AT,
            expires_at=_AT + 86400,
            filename="talks.jsonl",
            purpose="fine-tune",
            status=UploadStatus.COMPLETED,
            file=file,
        ),
        UploadPart(
            id="part_1htr6qczhpv7pqxkdj6r1qk4ms",
            created_at=_AT,
            upload_id=_UPLOAD_ID,
            bytes=41193,
        ),
        CreateJob(
            model=_SPEC.model,
            training_file=_FILE_ID,
            suffix=_SPEC.suffix,
            metadata=_SPEC.metadata,
        ),
        JobObject.of(
            _JOB,
            output=Path("/var/lib/flant5/jobs", _JOB_ID, "output"),
            hyperparameters=to_response(_SPEC.hyperparameters),
            waiting_for=None,
            result_files=(),
            now=_AT + 600,
        ),
        EventObject(
            id="ft-event-1795536877000-0",
            seq=131,
            created_at=_AT + 600,
            level="info",
            type="metrics",
            message="Step 120/480: loss 1.4200",
            data={"step": 120, "loss": 1.42, "learning_rate": 9.1e-05},
        ),
        LogLineObject(
            id="1795536277123-0", seq=1, created_at=_AT + 0.123, stream="stderr", line="loading"
        ),
        CheckpointObject(
            id="ftckpt_1795536877000-0",
            created_at=_AT + 600,
            fine_tuned_model_checkpoint=f"{_MODEL}:ckpt-step-120",
            fine_tuning_job_id=_JOB_ID,
            step_number=120,
            metrics={"step": 120, "train_loss": 1.42, "full_valid_loss": 1.5},
            path="output/checkpoint-120",
        ),
        Artifact(id="checkpoint-120/model.safetensors", bytes=990_345_064),
        ModelObject(id=_MODEL, created=_AT, owned_by="alice"),
        ModelDeleted(id=_MODEL, freed_bytes=990_412_315),
        JobDeleted(id=_JOB_ID, freed_bytes=12_884_901_888),
        CheckpointDeleted(id=f"{_MODEL}:ckpt-step-120", step_number=120, freed_bytes=2_971_035_192),
        completion_example(model=_MODEL, created=_AT),
        RecoveryObject(
            status="done",
            requested_at=_AT,
            cause="its change counter went back from 1240 to 1201",
            finished_at=_AT + 2,
            num_found=2,
            num_known=1,
            restored=(RestoredJob(id=_JOB_ID, status=Status.QUEUED),),
            problems=(),
        ),
        Metrics(
            step=(1, 2),
            epoch=(0.01, 0.02),
            loss=(2.61, 2.48),
            learning_rate=(5e-05, 1e-04),
            grad_norm=(3.2, 2.9),
            tokens_seen=(5210, 10377),
            tokens_per_second=(40100.0, 41200.0),
            source_fill=(0.98, 0.99),
            target_fill=(0.97, 0.98),
            tflops=(118.0, 121.0),
            mfu=(0.119, 0.122),
            gpu_memory_bytes=(21_474_836_480.0, 21_474_836_480.0),
            eval_step=(2,),
            eval_loss=(2.4,),
            eval_perplexity=(11.02,),
            eval_token_accuracy=(0.52,),
            eval_exact_match=(None,),
            eval_rouge_l=(None,),
            num_malformed_lines=0,
        ),
        _report(),
        plan_example(_SPEC),
        PlanInProgress(),
        Health(),
        Readiness(),
        ErrorResponse(
            error=Error(
                message="learning_rate: found -1; expected a number above 0",
                type="invalid_request_error",
                param="hyperparameters.learning_rate",
                code="invalid_value",
            )
        ),
    ]
    return {type(example).__name__: example for example in all_examples}


def _report() -> FileReportObject:
    none = Problems(num_problems=0, num_records=0, by_kind={}, listed=())
    problem = ReportedProblem(
        record=2,
        line=2,
        field="messages[0].role",
        kind="unknown role",
        found="'bot'",
        expected="one of system, developer, user, assistant (or human, gpt, chatgpt, bing, bard)",
        count=1,
        also_at=None,
    )
    lengths = LengthSummary(p50=58, p90=58, p99=58, max=58, histogram=(Bucket(up_to=64, pairs=1),))
    return FileReportObject(
        file="talks.jsonl",
        bytes=147,
        is_trainable=False,
        on_bad_record="fail",
        on_missing_question="train",
        is_read_to_end=True,
        records=2,
        conversations=1,
        pairs=1,
        left_out={},
        tokens=Tokens(
            counted="estimated",
            model=None,
            tokenization="lossless",
            note=None,
            source_tokens=58,
            target_tokens=5,
        ),
        cut=Cut(
            max_source_length=64,
            max_target_length=64,
            truncated_sources=0,
            truncated_targets=0,
            source_tokens_lost=0,
            target_tokens_lost=0,
        ),
        other_limits=(),
        source_lengths=lengths,
        target_lengths=lengths,
        repeats=Repeats(num_repeats=0, num_repeated=0, listed=()),
        problems=Problems(
            num_problems=1, num_records=1, by_kind={"unknown role": 1}, listed=(problem,)
        ),
        warnings=none,
        file_id=_FILE_ID,
    )
