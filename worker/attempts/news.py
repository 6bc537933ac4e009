"""Maps records of `progress.jsonl` to job events and progress fields."""

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

from pydantic import JsonValue

from flant5_train.protocol.progress import (
    AutoChosen,
    BatchesPlanned,
    BestChosen,
    CheckpointSaved,
    DataRead,
    Evaluated,
    FileEncoding,
    MemoryPlanned,
    ModelSaved,
    PhaseChange,
    Record,
    SampleAnswers,
    StepTrained,
    Stopped,
    StoppedEarly,
    TrainingStarted,
    WarningIssued,
)
from worker.jobs.job import Chosen, Phase, Progress
from worker.jobs.update import NewCheckpoint, NewEvent

_PHASES = {
    "preprocessing": "Preparing the conversations",
    "loading_model": "Loading the model",
    "training": "Training",
    "evaluating": "Evaluating",
    "saving": "Saving",
    "stopping": "Stopping",
}


def event_of(record: Record) -> NewEvent:
    """Returns the event for a record. Its data are all values of the record."""
    data: dict[str, JsonValue] = record.model_dump(mode="json", exclude={"type", "at"})
    is_metrics = isinstance(record, StepTrained | Evaluated)
    return NewEvent(
        message=_message(record),
        level="warn" if _is_warning(record) else "info",
        type="metrics" if is_metrics else "message",
        data=data,
        at=record.at,
    )


def _is_warning(record: Record) -> bool:
    if isinstance(record, MemoryPlanned):
        return not record.fits
    return isinstance(record, WarningIssued)


def phase_of(records: Sequence[Record]) -> Phase:
    """Returns the phase after these records, or None if they don't change it."""
    phases = [record.phase for record in records if isinstance(record, PhaseChange)]
    return phases[-1] if phases else None


def progress_of(records: Sequence[Record]) -> Progress | None:
    """Returns the training progress after these records, or None if they contain no step."""
    steps = [record for record in records if isinstance(record, StepTrained)]
    if not steps:
        return None
    last = steps[-1]
    return Progress(
        step=last.step,
        max_steps=last.max_steps,
        percent=round(100 * last.step / max(1, last.max_steps), 2),
        loss=last.loss,
        tokens_per_second=last.tokens_per_second,
        eta_seconds=last.eta_seconds,
    )


def trained_tokens_of(records: Sequence[Record]) -> int | None:
    """Returns the tokens trained on after these records, or None if they contain no count."""
    counts = [
        record.tokens_seen for record in records if isinstance(record, StepTrained | ModelSaved)
    ]
    return counts[-1] if counts else None


def chosen_of(records: Sequence[Record]) -> Chosen | None:
    """Returns the automatic hyperparameters in these records, or None if there are none."""
    found = [record for record in records if isinstance(record, AutoChosen)]
    if not found:
        return None
    last = found[-1]
    return Chosen(num_train_epochs=last.num_train_epochs, learning_rate=last.learning_rate)


def checkpoints_of(records: Sequence[Record], run_directory: Path) -> tuple[NewCheckpoint, ...]:
    """Returns the checkpoints among the records, with paths relative to the run directory."""
    return tuple(
        NewCheckpoint(
            step=record.step,
            path=_relative(record.path, run_directory),
            metrics=record.metrics,
            at=record.at,
        )
        for record in records
        if isinstance(record, CheckpointSaved)
    )


def _relative(path: str, run_directory: Path) -> str:
    is_inside = Path(path).is_relative_to(run_directory)
    return str(Path(path).relative_to(run_directory)) if is_inside else path


@singledispatch
def _message(record: Record) -> str:
    raise TypeError(f"no message for a record of type {type(record).__name__}")


@_message.register
def _(record: PhaseChange) -> str:
    return _PHASES[record.phase]


@_message.register
def _(record: FileEncoding) -> str:
    share = record.bytes_done / max(1, record.bytes_total)
    return f"Encoded {record.conversations} conversations, {share:.0%} of {record.file}"


@_message.register
def _(record: DataRead) -> str:
    encoded = f"The {record.split} conversations are encoded"
    warnings = record.report.get("warnings")
    if not isinstance(warnings, dict) or not warnings:
        return encoded
    counted = ", ".join(f"{count} x {kind}" for kind, count in warnings.items())
    return f"{encoded}; warnings: {counted}"


@_message.register
def _(record: BatchesPlanned) -> str:
    return (
        f"Planned {record.num_micro_batches} {record.batching} micro-batches per epoch: "
        f"packing efficiency {record.source_fill:.0%} (source), {record.target_fill:.0%} (target)"
    )


@_message.register
def _(record: MemoryPlanned) -> str:
    return f"Memory: {record.message}"


@_message.register
def _(record: AutoChosen) -> str:
    return record.message


@_message.register
def _(record: WarningIssued) -> str:
    return record.message


@_message.register
def _(record: TrainingStarted) -> str:
    of = f"{record.max_steps} steps over {record.num_pairs} pairs"
    if record.step == 0:
        return f"Training starts: {of}, processes: {record.num_processes}"
    return f"Training resumes after step {record.step} of {of}, processes: {record.num_processes}"


@_message.register
def _(record: StepTrained) -> str:
    return f"Step {record.step}/{record.max_steps}: training loss={record.loss:.2f}"


@_message.register
def _(record: Evaluated) -> str:
    return (
        f"Step {record.step}: validation loss={record.eval_loss:.2f}, "
        f"token accuracy={record.eval_token_accuracy:.1%}"
    )


@_message.register
def _(record: SampleAnswers) -> str:
    return (
        f"Step {record.step}: {len(record.answers)} of {record.num_answers} sample answers recorded"
    )


@_message.register
def _(record: StoppedEarly) -> str:
    return (
        f"Stopped early at step {record.step}: the validation loss has not improved for"
        f" {record.patience} evaluations (best: {record.best_eval_loss:.2f} at step"
        f" {record.best_step})"
    )


@_message.register
def _(record: BestChosen) -> str:
    return (
        f"Selected the checkpoint of step {record.step} as the model: lowest validation loss"
        f" ({record.eval_loss:.2f})"
    )


@_message.register
def _(record: CheckpointSaved) -> str:
    return f"Checkpoint saved at step {record.step}"


@_message.register
def _(record: ModelSaved) -> str:
    return f"Model saved after {record.step} steps, training loss={record.train_loss:.2f}"


@_message.register
def _(record: Stopped) -> str:
    kept = "with a checkpoint" if record.path else "without a checkpoint"
    return f"Training stopped at step {record.step} {kept}"
