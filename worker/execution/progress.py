"""Ingests the trainer's progress and log into the store, each line exactly once.

The store keeps the offsets of both files together with the ingested data. After a crash, the next
pump continues exactly there. Records of `progress.jsonl` are mapped to job events and progress
fields.
"""

from collections.abc import Sequence
from functools import singledispatch
from itertools import accumulate
from pathlib import Path

from pydantic import JsonValue, ValidationError

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
    parse_record,
)
from worker.jobs.job import Chosen, JobProgressState, Phase
from worker.jobs.storage.log_format import parse_line, whole_lines
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.serialization import (
    Claim,
    NewCheckpoint,
    NewEvent,
    NewLogLine,
    OffsetRange,
    Offsets,
    OffsetsMovedError,
    Update,
)
from worker.jobs.store.store import JobStore

_PHASES = {
    "preprocessing": "Preparing the conversations",
    "loading_model": "Loading the model",
    "training": "Training",
    "evaluating": "Evaluating",
    "saving": "Saving",
    "stopping": "Stopping",
}


def event_from_record(record: Record) -> NewEvent:
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


def latest_phase(records: Sequence[Record]) -> Phase:
    """Returns the phase after these records, or None if they don't change it."""
    phases = [record.phase for record in records if isinstance(record, PhaseChange)]
    return phases[-1] if phases else None


def latest_progress(records: Sequence[Record]) -> JobProgressState | None:
    """Returns the training progress after these records, or None if they contain no step."""
    steps = [record for record in records if isinstance(record, StepTrained)]
    if not steps:
        return None
    last = steps[-1]
    return JobProgressState(
        step=last.step,
        max_steps=last.max_steps,
        percent=round(100 * last.step / max(1, last.max_steps), 2),
        loss=last.loss,
        tokens_per_second=last.tokens_per_second,
        eta_seconds=last.eta_seconds,
    )


def latest_trained_tokens(records: Sequence[Record]) -> int | None:
    """Returns the tokens trained on after these records, or None if they contain no count."""
    counts = [
        record.tokens_seen for record in records if isinstance(record, StepTrained | ModelSaved)
    ]
    return counts[-1] if counts else None


def latest_chosen(records: Sequence[Record]) -> Chosen | None:
    """Returns the automatic hyperparameters in these records, or None if there are none."""
    found = [record for record in records if isinstance(record, AutoChosen)]
    if not found:
        return None
    last = found[-1]
    return Chosen(num_train_epochs=last.num_train_epochs, learning_rate=last.learning_rate)


def new_checkpoints(records: Sequence[Record], run_directory: Path) -> tuple[NewCheckpoint, ...]:
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


_MAX_BYTES = 65_536
_MAX_SHOWN_CHARACTERS = 200


class LostError(Exception):
    """This worker no longer holds the job."""


class ProgressIngester:
    """Ingests one attempt's files from the run directory into the store."""

    def __init__(self, store: JobStore, claim: Claim, run_directory: RunDirectory) -> None:
        self._store = store
        self._claim = claim
        self._run_directory = run_directory
        self._offsets = claim.offsets
        self.phase: Phase = None
        """The trainer's phase, from its last phase record."""
        self.step = 0
        """The last step read by this pump."""

    def ingest(self) -> bool:
        """Ingests one chunk. Returns False if there was nothing to ingest.

        Raises LostError and StoreUnavailableError. After the latter, the next call repeats the
        chunk.
        """
        lines, progress = whole_lines(
            self._run_directory.progress, self._offsets.progress, max_bytes=_MAX_BYTES
        )
        log_lines, log = whole_lines(
            self._run_directory.log, self._offsets.log, max_bytes=_MAX_BYTES
        )
        end = Offsets(progress=progress, log=log)
        if end == self._offsets:
            return False
        try:
            update = self._update(lines, log_lines, OffsetRange(start=self._offsets, end=end))
            if not self._store.leases.record(self._claim, update):
                raise LostError(f"job {self._claim.job.id} is no longer held by this process")
            self._offsets = end
            self.phase = update.phase or self.phase
            self.step = update.progress.step if update.progress else self.step
        except OffsetsMovedError as error:
            self._offsets = error.stored
        return True

    def _update(
        self, lines: list[bytes], log_lines: list[bytes], offset_range: OffsetRange
    ) -> Update:
        parsed = [_parse(line) for line in lines]
        ends = accumulate(map(len, log_lines), initial=offset_range.start.log)
        next(ends)  # skips the start of the first line
        records = [item for item in parsed if not isinstance(item, NewEvent)]
        return Update(
            events=tuple(
                item if isinstance(item, NewEvent) else event_from_record(item) for item in parsed
            ),
            log_lines=tuple(
                NewLogLine(line=text, stream=stream, at=at, end=end)
                for (at, stream, text), end in zip(map(parse_line, log_lines), ends, strict=True)
            ),
            checkpoints=new_checkpoints(records, self._run_directory.path),
            phase=latest_phase(records),
            progress=latest_progress(records),
            trained_tokens=latest_trained_tokens(records),
            chosen=latest_chosen(records),
            offset_range=offset_range,
        )


def _parse(line: bytes) -> Record | NewEvent:
    """Returns the record, or a warning event for an invalid line."""
    try:
        return parse_record(line)
    except ValidationError as error:
        shown = line.decode("utf-8", "replace").strip()[:_MAX_SHOWN_CHARACTERS]
        reason = error.errors(include_url=False)[0]["msg"]
        return NewEvent(
            level="warn",
            message=f"Ignored an invalid line in progress.jsonl: {reason}",
            data={"line": shown},
        )
