"""Recovery on request: restores lost jobs from disk, and updates jobs that are older in the store.

Works in portions to let the controller's other steps run. A file lock allows one controller at a
time. If that controller is killed, another one continues and skips the jobs restored so far.

A job that the store lost or rolled back is restored from its run directory:

    read the files -> restore the record -> replay progress.jsonl and train.log -> outcome

The controller holds a lease on a job that has begun or ended while it replays the job's files. If
the controller is killed, the lease expires and the job is queued. The worker that claims it finds
the same files and records the same outcome.
"""

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from redis.exceptions import ResponseError

from flant5_train.protocol.progress import ModelSaved
from worker.controller.comparison import Differences, StoreDifference, Unreadable
from worker.execution.lease import Lease
from worker.execution.progress import LostError, ProgressIngester
from worker.execution.records import (
    AttemptRecord,
    apply_desired_state,
    keep_end,
    read_attempt,
    valid_result,
)
from worker.failures.outcome import last_record
from worker.jobs.errors import NotFoundError
from worker.jobs.job import model_id
from worker.jobs.storage.job_record import DesiredState, JobRecord, JobRecordStore
from worker.jobs.storage.lock import LockedError, take_lock
from worker.jobs.store.recovery import (
    Problem,
    Recovery,
    RecoveryRequests,
    RestorableJob,
    RestoredJob,
    Standing,
    encode_restorable_job,
    next_epoch,
)
from worker.jobs.store.serialization import Cancelled, Claim, Outcome, Succeeded
from worker.jobs.store.store import JobStore
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
        self._record = JobRecordStore(settings.home_directories).read(job_id)
        attempt = read_attempt(self._run_directory.attempt)
        self._result = valid_result(self._run_directory, self._record.result_floor)
        epochs = [each.epoch for each in (attempt, self._result, seen) if each is not None]
        self._restorable = RestorableJob(
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
        self._lease.renew()
        if self._ingest_one():
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
        is_plain = self._record.wish is DesiredState.GO_ON and self._result is None
        # A job that has neither begun nor ended has no progress to add: its files are checked.
        is_held = self._restorable.has_begun or not is_plain
        lease_ms = int(self._settings.lease_seconds * 1000)
        args = (
            self._record.id,
            encode_restorable_job(self._restorable),
            holder if is_held else "",
            lease_ms,
        )
        is_new = self._store.scripts.run("restore", *args)
        if not (is_new and is_held):
            return False
        self._claim = self._store.leases.claim_of(self._record.id)
        self._lease = Lease.from_claim(self._claim, self._store, self._settings)
        self._ingester = ProgressIngester(self._store, self._claim, self._run_directory)
        return True

    def _ingest_one(self) -> bool:
        try:
            return self._ingester.ingest()
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
        if record.wish is DesiredState.CANCEL:
            return Cancelled(), record.finished_at or time.time()
        return None


SLICE_SECONDS = 0.25
"""Seconds per controller round spent on a recovery."""
_BATCH = 50


@dataclass(slots=True)
class _RecoveryRun:
    """State of a running recovery in this controller."""

    lock: int
    recovery: Recovery
    """Its state in the store."""
    to_list: Iterator[str]
    to_look_at: deque[str] = field(default_factory=deque)
    num_found: int | None = None
    """None until all jobs are listed."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Job ids to restore -> job numbers."""
    older: dict[str, Standing] = field(default_factory=dict)
    """Jobs to restore that the store has in an older state -> that state."""
    to_restore: deque[str] = field(default_factory=deque)
    """Jobs to restore, oldest first, once all jobs are compared."""
    highest_number: int = 0
    current: Restoration | None = None
    """Restoration of the first job in `to_restore`, once its files are read."""
    num_known: int = 0
    restored: list[RestoredJob] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def report(self, **changes: object) -> Recovery:
        found = {
            "num_found": self.num_found or len(self.to_look_at),
            "num_known": self.num_known,
            "restored": tuple(self.restored),
            "problems": tuple(self.problems),
        }
        return self.recovery.model_copy(update=found | changes)


class Recoverer:
    """Runs the recoveries requested from the desk."""

    def __init__(self, store: JobStore, desk: RecoveryRequests, settings: WorkerSettings) -> None:
        self._store = store
        self._desk = desk
        self._settings = settings
        self._job_records = JobRecordStore(settings.home_directories)
        self._differences = Differences(store, settings.home_directories)
        self._holder = f"controller-{socket.gethostname()}-{os.getpid()}"
        self._run: _RecoveryRun | None = None

    def step(self) -> None:
        """Works for one time slice, if a recovery is requested.

        Raises StoreUnavailableError; the next call continues at the same point.
        """
        recovery = self._desk.state()
        if recovery is None or recovery.status == "done":
            self.close()
            return
        run = self._run or self._begin(recovery)
        deadline = time.monotonic() + SLICE_SECONDS
        while run is not None and time.monotonic() < deadline:
            if not self._go_on(run):
                self._save(run, run.report(status="done", finished_at=time.time()))
                self.close()
                return
        if run is not None:
            self._save(run, run.report())

    def close(self) -> None:
        """Releases the lock for another controller."""
        if self._run is not None:
            os.close(self._run.lock)
            self._run = None

    def _begin(self, recovery: Recovery) -> _RecoveryRun | None:
        """Returns None if another controller runs the recovery."""
        lock_file = self._settings.home_directories.workers / "recovery.lock"
        try:
            lock = take_lock(lock_file, patience_seconds=0)
        except LockedError:
            return None
        except OSError:
            logger.exception("recovery: cannot take the lock")
            return None
        self._run = _RecoveryRun(
            lock=lock,
            recovery=recovery,
            to_list=self._job_records.job_ids(),
            restored=list(recovery.restored),  # by a controller that was killed
        )
        self._save(self._run, self._run.report(status="running"))
        return self._run

    def _save(self, run: _RecoveryRun, report: Recovery) -> None:
        if self._desk.replace(run.recovery, report):
            run.recovery = report
            if report.status == "done":
                counts = (len(run.restored), len(run.problems), run.num_known)
                logger.info("recovery: %d jobs restored, %d problems, %d up to date", *counts)
        else:
            logger.error("recovery: aborted: the store was lost again; request a new recovery")
            self.close()

    def _go_on(self, run: _RecoveryRun) -> bool:
        """Processes one portion. Returns False if nothing is left to do."""
        if run.num_found is None:
            self._list_some(run)
        elif run.to_look_at:
            self._look_at_some(run)
        elif not run.to_restore:
            return False
        elif run.current is None:
            self._read_next(run, run.to_restore[0])
        else:
            self._restore_on(run, run.to_restore[0], run.current)
        return True

    def _list_some(self, run: _RecoveryRun) -> None:
        batch = tuple(islice(run.to_list, _BATCH))
        run.to_look_at.extend(batch)
        if not batch:
            run.to_look_at = deque(sorted(run.to_look_at))
            run.num_found = len(run.to_look_at)
            logger.info("recovery: %d jobs on disk", run.num_found)

    def _look_at_some(self, run: _RecoveryRun) -> None:
        batch = tuple(run.to_look_at)[:_BATCH]
        before = {each.id for each in run.restored}
        for job_id, seen in self._differences.look(batch).items():
            if isinstance(seen, Unreadable) and not seen.is_known:
                self._note(run, job_id, f"not restored: {seen.reason}")
            elif isinstance(seen, Unreadable) or seen.difference is None:
                run.num_known += job_id not in before
            elif seen.difference is StoreDifference.REQUESTED:
                self._carry_out(run, seen.disk.record)
            else:
                run.numbers[job_id] = seen.disk.record.number
                if seen.standing is not None:
                    run.older[job_id] = seen.standing
        for _ in batch:
            run.to_look_at.popleft()
        if not run.to_look_at:
            run.to_restore.extend(sorted(run.numbers, key=run.numbers.__getitem__))
            run.highest_number = max(run.numbers.values(), default=0)

    def _carry_out(self, run: _RecoveryRun, record: JobRecord) -> None:
        try:
            status = apply_desired_state(record, self._store)
        except NotFoundError:
            self._note(run, record.id, "lost again with the store; request a new recovery")
        else:
            run.restored.append(RestoredJob(id=record.id, status=status))

    def _read_next(self, run: _RecoveryRun, job_id: str) -> None:
        try:
            run.current = Restoration(
                job_id,
                self._store,
                self._settings,
                highest_number=run.highest_number,
                seen=run.older.get(job_id),
            )
        except (OSError, ValueError) as error:
            run.to_restore.popleft()
            self._note(run, job_id, f"not restored: {error}")

    def _restore_on(self, run: _RecoveryRun, job_id: str, restoration: Restoration) -> None:
        try:
            if not restoration.step(self._holder):
                return
        except (LostError, NotFoundError) as error:
            # This controller was suspended until the lease expired. The worker that claims the job
            # does the rest.
            logger.warning("recovery: job %s: continues without the controller: %s", job_id, error)
        except (OSError, ValueError, ResponseError) as error:
            # A problem with one job must not stop the restoration of others.
            logger.exception("recovery: job %s", job_id)
            self._note(run, job_id, f"restored incompletely: {error}")
        try:
            restored = RestoredJob(id=job_id, status=self._store.get(job_id).status)
        except NotFoundError:
            self._note(run, job_id, "lost again with the store; request a new recovery")
        else:
            run.restored.append(restored)
        if restoration.problem is not None:
            self._note(run, job_id, restoration.problem)
        run.to_restore.popleft()
        run.current = None

    def _note(self, run: _RecoveryRun, job_id: str, message: str) -> None:
        logger.warning("recovery: job %s: %s", job_id, message)
        run.problems.append(Problem(id=job_id, message=message))
