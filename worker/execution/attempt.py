"""One attempt of a job, from the claim to the recorded outcome.

    claim -> run.json -> supervisor -> watch (pump, beat) -> result.json -> pump the rest -> finish

An attempt that loses its lease, or Redis for too long, kills its trainer and writes nothing more:
by then another worker may hold the job. `AttemptFinalizer` finalizes an attempt: it writes
`result.json`, flushes the remaining progress, and records the outcome in Redis.
"""

import logging
import os
import socket
import time
from typing import Literal

from flant5_train.config import RunConfig
from flant5_train.protocol.failure import FailureCode
from worker.context import WorkerContext
from worker.execution.gang import Gang
from worker.execution.launch_spec import MissingInputError, run_config_of, trainer_command
from worker.execution.lease import Lease
from worker.execution.monitor import StallDetector, StopReason, TrainerMonitor
from worker.execution.progress import LostError, ProgressIngester
from worker.execution.records import (
    AttemptRecord,
    apply_desired_state,
    keep_ends,
    read_attempt,
    valid_result,
    write_attempt,
    write_result,
)
from worker.failures.evidence import ProcessExit
from worker.failures.outcome import AttemptStart, Interrupted, classify_outcome
from worker.failures.retry import RetryPolicy
from worker.jobs.errors import StorageFullError, StoreUnavailableError
from worker.jobs.job import JobError
from worker.jobs.storage.filesystem import MalformedFileError, is_full
from worker.jobs.storage.job_record import DesiredState, JobRecord, JobRecordStore
from worker.jobs.storage.lock import LockedError, holder_text, take_lock_to_share
from worker.jobs.storage.run_files import FILENAME, keep_result_file
from worker.jobs.store.serialization import (
    Cancelled,
    Claim,
    Failed,
    InfraFailure,
    Outcome,
    Succeeded,
)
from worker.processes.process_tree import kill_marked
from worker.processes.trainer_process import TRAINER_MARK, TrainerProcess, mark_of
from worker.slots.slot import HeldSlots

WORKER_LOST = InfraFailure(FailureCode.WORKER_LOST.value)

logger = logging.getLogger(__name__)


class AttemptFinalizer:
    """Finishes or releases the job of an attempt.

    Both methods raise LostError if another worker holds the job, and StoreUnavailableError.
    """

    def __init__(
        self, claim: Claim, context: WorkerContext, *, lease: Lease, ingester: ProgressIngester
    ) -> None:
        self._claim = claim
        self._job = claim.job
        self._context = context
        self._lease = lease
        self._ingester = ingester
        self._run_directory = context.settings.home_directories.run_directory(claim.job.id)

    def finish(self, outcome: Outcome) -> None:
        """Writes the outcome to disk, then to Redis after all remaining progress."""
        if isinstance(outcome, Succeeded):
            self._keep_result_file()
        try:
            write_result(self._run_directory.result, outcome, epoch=self._claim.epoch)
        except OSError:
            # A full disk must not prevent recording the outcome.
            logger.exception("job %s: cannot write result.json; only Redis has it", self._job.id)
        self._ingest_rest()
        finish = self._context.store.leases.finish
        if not self._lease.retry_until_fenced(lambda: finish(self._claim, outcome)):
            raise LostError("another worker may hold the job; its outcome is in result.json")
        logger.info("job %s: %s", self._job.id, type(outcome).__name__.lower())

    def release(self, reason: str, infra_failure: InfraFailure | None = None) -> None:
        """Releases the job into the queue. A loss counts against it."""
        self._ingest_rest()
        release = self._context.store.leases.release
        status = self._lease.retry_until_fenced(
            lambda: release(self._claim, reason=reason, infra_failure=infra_failure)
        )
        logger.info("job %s: %s; now %s", self._job.id, reason, status)
        if status.is_final:
            home = self._context.settings.home_directories
            keep_ends(self._context.store, home, (self._job.id,))

    def _keep_result_file(self) -> None:
        """Writes the result file before the outcome is on disk.

        A succeeded job then has its metrics, even if another process records the outcome.
        """
        try:
            keep_result_file(self._job, self._context.settings.home_directories)
        except (OSError, StorageFullError):
            # The model is worth more than its metrics.
            logger.exception("job %s: cannot write %s", self._job.id, FILENAME)

    def _ingest_rest(self) -> None:
        """Stores the remaining progress and log before the outcome: users need the log's end."""
        try:
            while self._lease.retry_until_fenced(self._ingester.ingest):
                self._lease.renew()
        except StoreUnavailableError:
            logger.exception("job %s: cannot store the rest of its log", self._job.id)


def infra_failure_of(outcome: Interrupted) -> InfraFailure:
    """Returns the loss that an interruption counts as."""
    counts_as: Literal["losses", "failures"]
    counts_as = "failures" if outcome.retry is RetryPolicy.ONCE else "losses"
    return InfraFailure(outcome.code.value, counts_as=counts_as)


LOCK_SECONDS = 5.0
"""Seconds to wait for the processes of a lost attempt to exit (measured: about 0.1 s)."""


class Attempt:
    """One execution of the trainer for a job, under one lease."""

    def __init__(self, claim: Claim, slots: HeldSlots, context: WorkerContext) -> None:
        self._claim = claim
        self._job = claim.job
        self._slots = slots
        self._context = context
        self._run_directory = context.settings.home_directories.run_directory(claim.job.id)
        self._lease = Lease.from_claim(claim, context.store, context.settings)
        self._ingester = ProgressIngester(context.store, claim, self._run_directory)
        self._stall_detector = StallDetector(
            self._run_directory.progress, limit_seconds=context.settings.stall_seconds
        )
        self._closing = AttemptFinalizer(claim, context, lease=self._lease, ingester=self._ingester)
        self._gang = Gang(claim, context, lease=self._lease)

    def run(self) -> None:
        """Runs the attempt until its outcome is recorded or the job is queued again.

        Raises LostError and StoreUnavailableError. No process is left running in any case.
        """
        # First, because stray processes share the lock.
        self._kill_strays(f"{TRAINER_MARK}={self._run_directory.path}")
        holder = holder_text(self._context.settings.worker_name, job_id=self._job.id)
        try:
            lock = take_lock_to_share(
                self._run_directory.lock, holder=holder, patience_seconds=LOCK_SECONDS
            )
        except LockedError as error:
            self._closing.release(f"an earlier attempt is still running: {error}", WORKER_LOST)
            return
        try:
            self._run_locked(lock)
        finally:
            os.close(lock)

    def _run_locked(self, lock: int) -> None:
        if self._is_outdated():
            return
        if (outcome := self._earlier_outcome()) is not None:
            logger.info("job %s: already ended in an earlier attempt", self._job.id)
            self._closing.finish(outcome)
            return
        if (changed_record := self._apply_unrecorded_desired_state()) is not None:
            store = self._context.store
            self._lease.retry_until_fenced(lambda: apply_desired_state(changed_record, store))
            self._closing.release("a newer request from its caller was found on disk")
            return
        try:
            run_config = self._lease.retry_until_fenced(
                lambda: run_config_of(self._job, self._context)
            )
            start = self._prepare(run_config)
        except MissingInputError as error:
            self._closing.finish(Failed(error.error))
            return
        except OSError as error:
            if not is_full(error):
                raise
            self._closing.finish(Failed(_disk_full(error)))
            return
        command = trainer_command(
            self._gang.publish_rendezvous(),
            self._slots,
            self._context,
            run_directory=self._run_directory,
        )
        trainer = TrainerProcess(command, held=(lock, *self._slots.descriptors))
        oom_kills = self._context.oom_counter.read()
        watch = TrainerMonitor(
            self._lease,
            self._ingester,
            stall_detector=self._stall_detector,
            is_stopping=self._context.is_stopping,
        )
        try:
            stop_reason = watch.run(
                trainer,
                poll_seconds=self._context.settings.progress_poll_seconds,
                seconds_left=self._seconds_left(),
            )
            if trainer.exit_code != 0:
                stop_reason = self._gang.poll_members(stop_reason)
        finally:
            trainer.close()
            self._kill_strays(mark_of(command.environment))
        end = ProcessExit(trainer.exit_code, self._context.oom_counter.read() - oom_kills)
        judged = classify_outcome(self._job, self._run_directory, start, end)
        if stop_reason is StopReason.STALLED and isinstance(judged, Interrupted):
            judged = Interrupted(self._stall_detector.message(step=self._ingester.step))
        self._gang.log_member_errors(self._run_directory.log)
        self._conclude(stop_reason, self._gang.decide_outcome(judged))

    def _is_outdated(self) -> bool:
        """Drops the claim and returns True if an attempt of the same or a later epoch has run.

        The store was rolled back in that case. Output of that attempt must not count.
        """
        try:
            last = read_attempt(self._run_directory.attempt)
        except MalformedFileError as error:
            logger.warning("job %s: %s", self._job.id, error)
            return False
        if last is None or last.epoch < self._claim.epoch:
            return False
        logger.warning(
            "job %s: dropping the claim: the store was rolled back (epoch=%d, epoch_on_disk=%d)",
            self._job.id,
            self._claim.epoch,
            last.epoch,
        )
        outdate = self._context.store.leases.outdate
        self._lease.retry_until_fenced(lambda: outdate(self._claim, above=last.epoch))
        return True

    def _apply_unrecorded_desired_state(self) -> JobRecord | None:
        """Returns a cancellation or pause that a rolled-back store lost, or None."""
        try:
            record = JobRecordStore(self._context.settings.home_directories).read(self._job.id)
        except (OSError, ValueError):
            return None  # a job needs no record to run
        is_newer = record.wished_at > self._job.wished_at
        return record if is_newer and record.wish is not DesiredState.GO_ON else None

    def _earlier_outcome(self) -> Outcome | None:
        """Returns the outcome of an attempt that was lost before it recorded the outcome."""
        result = valid_result(self._run_directory, self._job.result_floor)
        if result is not None:
            return result.outcome
        judged = classify_outcome(self._job, self._run_directory, AttemptStart(progress=0, log=0))
        return judged if isinstance(judged, Succeeded) else None

    def _seconds_left(self) -> float | None:
        """Returns the remaining seconds of max_run_seconds, or None without a limit."""
        limit = self._job.spec.max_run_seconds
        return None if limit is None else limit - self._job.run_seconds

    def _prepare(self, run_config: RunConfig) -> AttemptStart:
        record = AttemptRecord(
            epoch=self._claim.epoch,
            attempt=self._claim.attempt,
            worker=self._context.settings.worker_name,
            host=socket.gethostname(),
            started_at=self._job.started_at or time.time(),
            run_seconds=self._job.run_seconds,
        )
        write_attempt(self._run_directory.attempt, record)
        run_config.write(self._run_directory.run_config)
        self._run_directory.failure.unlink(missing_ok=True)
        self._run_directory.torch_error.unlink(missing_ok=True)
        return AttemptStart.of(self._run_directory)

    def _kill_strays(self, mark: str) -> None:
        """Kills processes left behind by a killed supervisor (normally none)."""
        if strays := kill_marked(mark):
            logger.warning("job %s: killed stray processes %s", self._job.id, strays)

    def _conclude(self, stop_reason: StopReason, outcome: Succeeded | Failed | Interrupted) -> None:
        if isinstance(outcome, Succeeded):
            self._closing.finish(outcome)
        elif stop_reason in (StopReason.CANCELLED, StopReason.SAVED):
            self._closing.finish(Cancelled())
        elif stop_reason is StopReason.TIMED_OUT:
            self._closing.finish(Failed(self._out_of_time()))
        elif stop_reason in _REASONS and _is_from_stopping(outcome):
            self._closing.release(_REASONS[stop_reason])
        elif isinstance(outcome, Interrupted):
            self._closing.release(outcome.reason, infra_failure_of(outcome))
        else:
            self._closing.finish(outcome)

    def _out_of_time(self) -> JobError:
        return JobError(
            code=FailureCode.TIMEOUT.value,
            message="The job reached its time limit (max_run_seconds = "
            f"{self._job.spec.max_run_seconds}). Resume it to continue from the latest checkpoint "
            "with a new limit.",
            param="max_run_seconds",
        )


_REASONS = {
    StopReason.STOPPED: "the worker is shutting down",
    StopReason.MEMBER_STOPPED: "one of its workers is shutting down",
    StopReason.PAUSED: "a pause was requested",
}


def _is_from_stopping(outcome: Failed | Interrupted) -> bool:
    """Returns True if the stop explains the failure. A stop during startup causes odd failures."""
    return isinstance(outcome, Interrupted) or outcome.error.code == FailureCode.INTERNAL


def _disk_full(error: OSError) -> JobError:
    return JobError(
        code=FailureCode.DISK_FULL.value,
        message=f"cannot write {error.filename or 'the run directory'}: {error.strerror}",
    )
