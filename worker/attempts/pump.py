"""The pump: moves what the trainer writes into the store, each line once.

The store keeps how far it is in both files, together with what came out of them; a pump that
starts after a crash goes on exactly there.
"""

from itertools import accumulate

from pydantic import ValidationError

from flant5_train.progress import Record, parse_record
from worker.attempts.news import (
    checkpoints_of,
    chosen_of,
    event_of,
    phase_of,
    progress_of,
    trained_tokens_of,
)
from worker.jobs.home import RunDirectory
from worker.jobs.job import Phase
from worker.jobs.lines import whole_lines
from worker.jobs.log_format import parse_line
from worker.jobs.store import JobStore
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
    """The job is no longer this worker's."""


class Pump:
    """One attempt's way from the run directory into the store."""

    def __init__(self, store: JobStore, claim: Claim, run_directory: RunDirectory) -> None:
        self._store = store
        self._claim = claim
        self._run_directory = run_directory
        self._offsets = claim.offsets
        self.phase: Phase = None
        """What the trainer does, by its last record that says so."""
        self.step = 0
        """The last step that it told of since this pump began."""

    def pump(self) -> bool:
        """Moves one portion; False when there was nothing to move.

        Raises LostError, and StoreUnavailableError: the same portion comes again next time.
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
                raise LostError(f"job {self._claim.job.id} is no longer ours")
            self._offsets = end
            self.phase = update.phase or self.phase
            self.step = update.progress.step if update.progress else self.step
        except OffsetsMovedError as error:
            self._offsets = error.stored
        return True

    def _update(self, lines: list[bytes], log_lines: list[bytes], move: Move) -> Update:
        parsed = [_parse(line) for line in lines]
        ends = accumulate(map(len, log_lines), initial=move.start.log)
        next(ends)  # which is where the first line begins
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
    """The record, or a warning in its place."""
    try:
        return parse_record(line)
    except ValidationError as error:
        shown = line.decode("utf-8", "replace").strip()[:_MAX_SHOWN_CHARACTERS]
        reason = error.errors(include_url=False)[0]["msg"]
        return NewEvent(
            level="warn",
            message=f"A line of the trainer's progress was no record: {reason}",
            data={"line": shown},
        )
