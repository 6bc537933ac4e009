"""Restores one job from its run directory into a store that lost it or was rolled back.

    read the files -> restore the record -> replay progress.jsonl and train.log -> outcome

The keeper holds a lease on a job that has begun or ended while it replays the job's files. If the
keeper is killed, the lease expires and the job is queued. The worker that claims it finds the same
files and records the same outcome.
"""

import logging
import time

from flant5_train.protocol.progress import ModelSaved
from worker.attempts.attempt_record import AttemptRecord, read_attempt
from worker.execution.lease import Lease
from worker.execution.progress import LostError, Pump
from worker.execution.records import keep_end, valid_result
from worker.failures.outcome import last_record
from worker.jobs.job import model_id
from worker.jobs.known import Known, encode_known, next_epoch
from worker.jobs.standing import Standing
from worker.jobs.storage.job_record import Ledger, Wish
from worker.jobs.store.store import JobStore
from worker.jobs.update import Cancelled, Claim, Outcome, Succeeded
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)


class Restoration:
    """Restores a job in portions. A portion that raised StoreUnavailableError can be retried."""

    def __init__(
        self,
        job_id: str,
        store: JobStore,
        settings: WorkerSettings,
        *,
        highest_number: int,
        seen: Standing | None = None,
    ) -> None:
        """Reads the run directory. `seen` is the older state in the store.

        Raises OSError, and ValueError for an invalid file.
        """
        self._store = store
        self._settings = settings
        self._run_directory = settings.home_directories.run_directory(job_id)
        self._record = Ledger(settings.home_directories).read(job_id)
        attempt = read_attempt(self._run_directory.attempt)
        self._result = valid_result(self._run_directory, self._record.result_floor)
        epochs = [each.epoch for each in (attempt, self._result, seen) if each is not None]
        self._known = Known(
            record=self._record,
            epoch=next_epoch(self._record.result_floor, *epochs),
            has_begun=attempt is not None or self._run_directory.progress.exists(),
            attempt=attempt.attempt if attempt else 0,
            started_at=attempt.started_at if attempt else None,
            run_seconds=self._run_seconds(attempt),
            highest_number=highest_number,
            seen=seen,
        )
        self._claim: Claim | None = None
        self.problem: str | None = None
        """Problem with the job's history or outcome, if any."""

    def step(self, holder: str) -> bool:
        """Processes one portion. Returns True once the job is restored.

        Raises StoreUnavailableError, and LostError if another process holds the job.
        """
        if self._claim is None:
            return not self._restore(holder)
        self._lease.keep()
        if self._pump_one():
            return False
        self._end(self._claim)
        return True

    def _run_seconds(self, attempt: AttemptRecord | None) -> float:
        """Returns the seconds that count towards max_run_seconds.

        The duration of the last attempt is the time between its record and its last log line.
        """
        if attempt is None or attempt.epoch <= self._record.result_floor:
            return 0.0
        try:
            last_sign = self._run_directory.log.stat().st_mtime
        except FileNotFoundError:
            return attempt.run_seconds
        began = self._run_directory.attempt.stat().st_mtime
        return attempt.run_seconds + max(0.0, last_sign - began)

    def _restore(self, holder: str) -> bool:
        """Restores the record. Returns False if there is nothing to add to it."""
        is_plain = self._record.wish is Wish.GO_ON and self._result is None
        # A job that has neither begun nor ended has no progress to add: its files are checked.
        is_held = self._known.has_begun or not is_plain
        lease_ms = int(self._settings.lease_seconds * 1000)
        args = (self._record.id, encode_known(self._known), holder if is_held else "", lease_ms)
        is_new = self._store.scripts.run("restore", *args)
        if not (is_new and is_held):
            return False
        self._claim = self._store.leases.claim_of(self._record.id)
        self._lease = Lease.of(self._claim, self._store, self._settings)
        self._pump = Pump(self._store, self._claim, self._run_directory)
        return True

    def _pump_one(self) -> bool:
        try:
            return self._pump.pump()
        except OSError as error:
            self.problem = f"its history is incomplete: {error}"
            return False

    def _end(self, claim: Claim) -> None:
        end = self._known_end()
        if end is None:
            self._store.leases.release(claim, reason="it was restored from its run directory")
            return
        outcome, finished_at = end
        if not self._store.leases.finish_restored(claim, outcome, finished_at=finished_at):
            raise LostError(f"job {claim.job.id} is no longer held by this process")
        if self._result is None:
            # Without this, the job would get another end time if the store is lost again.
            try:
                keep_end(self._store.get(claim.job.id), self._run_directory)
            except OSError as error:
                self.problem = f"cannot write its outcome to disk: {error}"

    def _known_end(self) -> tuple[Outcome, float] | None:
        """Returns the outcome and end time of the job, or None if it has not ended."""
        record, result = self._record, self._result
        if result is not None:
            written_at = result.finished_at or self._run_directory.result.stat().st_mtime
            return result.outcome, written_at
        try:
            last = last_record(self._run_directory.progress, 0)
        except OSError:
            last = None  # the pump has reported the error
        if isinstance(last, ModelSaved):
            return Succeeded(model_id(record.id, record.spec)), last.at
        if record.wish is Wish.CANCEL:
            return Cancelled(), record.finished_at or time.time()
        return None
