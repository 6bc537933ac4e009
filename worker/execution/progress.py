"""Ingests the trainer's progress and log into the store, each line exactly once.

The store keeps the offsets of both files together with the ingested data. After a crash, the next
pump continues exactly there.
"""

from itertools import accumulate

from pydantic import ValidationError

from flant5_train.protocol.progress import Record, parse_record
from worker.attempts.news import (
    checkpoints_of,
    chosen_of,
    event_of,
    phase_of,
    progress_of,
    trained_tokens_of,
)
from worker.jobs.job import Phase
from worker.jobs.lines import whole_lines
from worker.jobs.storage.log_format import parse_line
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.store import JobStore
from worker.jobs.update import (
    Claim,
    Move,
    NewEvent,
    NewLogLine,
    Offsets,
    OffsetsMovedError,
    Update,
)

_MAX_BYTES = 65_536
_MAX_SHOWN_CHARACTERS = 200


class LostError(Exception):
    """This worker no longer holds the job."""


class Pump:
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

    def pump(self) -> bool:
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
            update = self._update(lines, log_lines, Move(start=self._offsets, end=end))
            if not self._store.leases.record(self._claim, update):
                raise LostError(f"job {self._claim.job.id} is no longer held by this process")
            self._offsets = end
            self.phase = update.phase or self.phase
            self.step = update.progress.step if update.progress else self.step
        except OffsetsMovedError as error:
            self._offsets = error.stored
        return True

    def _update(self, lines: list[bytes], log_lines: list[bytes], move: Move) -> Update:
        parsed = [_parse(line) for line in lines]
        ends = accumulate(map(len, log_lines), initial=move.start.log)
        next(ends)  # skips the start of the first line
        records = [item for item in parsed if not isinstance(item, NewEvent)]
        return Update(
            events=tuple(item if isinstance(item, NewEvent) else event_of(item) for item in parsed),
            log_lines=tuple(
                NewLogLine(line=text, stream=stream, at=at, end=end)
                for (at, stream, text), end in zip(map(parse_line, log_lines), ends, strict=True)
            ),
            checkpoints=checkpoints_of(records, self._run_directory.path),
            phase=phase_of(records),
            progress=progress_of(records),
            trained_tokens=trained_tokens_of(records),
            chosen=chosen_of(records),
            move=move,
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
