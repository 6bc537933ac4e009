"""One attempt of a job, from the claim to the recorded outcome.

    claim -> run.json -> supervisor -> watch (pump, beat) -> result.json -> pump the rest -> finish

An attempt that loses its lease, or Redis for too long, kills its trainer and writes nothing more:
by then another worker may hold the job. `Closing` finalizes an attempt: it writes `result.json`,
flushes the remaining progress, and records the outcome in Redis.
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
from worker.execution.monitor import Ending, Silence, Watch
from worker.execution.progress import LostError, Pump
from worker.execution.records import (
    AttemptRecord,
    carry_out,
    keep_ends,
    read_attempt,
    valid_result,
    write_attempt,
    write_result,
)
from worker.failures.evidence import End
from worker.failures.outcome import Interrupted, Retry, Start, judge
from worker.jobs.errors import StorageFullError, StoreUnavailableError
from worker.jobs.job import JobError
from worker.jobs.storage.filesystem import MalformedFileError, is_full
from worker.jobs.storage.job_record import JobRecord, Ledger, Wish
from worker.jobs.storage.lock import LockedError, holder_text, take_lock_to_share
from worker.jobs.storage.run_files import FILENAME, keep_result_file
from worker.jobs.store.serialization import Cancelled, Claim, Failed, Loss, Outcome, Succeeded
from worker.processes.process_tree import kill_marked
from worker.processes.trainer_process import TRAINER_MARK, TrainerProcess, mark_of
from worker.slots.slot import HeldSlots

LOST = Loss(FailureCode.WORKER_LOST.value)

logger = logging.getLogger(__name__)


class Closing:
    """Finishes or releases the job of an attempt.

    Both methods raise LostError if another worker holds the job, and StoreUnavailableError.
    """

    def __init__(self, claim: Claim, context: WorkerContext, *, lease: Lease, pump: Pump) -> None:
        self._claim = claim
        self._job = claim.job
        self._context = context
        self._lease = lease
        self._pump = pump
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
        self._pump_rest()
        finish = self._context.store.leases.finish
        if not self._lease.insist(lambda: finish(self._claim, outcome)):
            raise LostError("another worker may hold the job; its outcome is in result.json")
        logger.info("job %s: %s", self._job.id, type(outcome).__name__.lower())

    def release(self, reason: str, loss: Loss | None = None) -> None:
        """Releases the job into the queue. A loss counts against it."""
        self._pump_rest()
        release = self._context.store.leases.release
        status = self._lease.insist(lambda: release(self._claim, reason=reason, loss=loss))
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

    def _pump_rest(self) -> None:
        """Stores the remaining progress and log before the outcome: users need the log's end."""
        try:
            while self._lease.insist(self._pump.pump):
                self._lease.keep()
        except StoreUnavailableError:
            logger.exception("job %s: cannot store the rest of its log", self._job.id)


def loss_of(outcome: Interrupted) -> Loss:
    """Returns the loss that an interruption counts as."""
    counts_as: Literal["losses", "failures"]
    counts_as = "failures" if outcome.retry is Retry.ONCE else "losses"
    return Loss(outcome.code.value, counts_as=counts_as)


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
        self._lease = Lease.of(claim, context.store, context.settings)
        self._pump = Pump(context.store, claim, self._run_directory)
        self._silence = Silence(
            self._run_directory.progress, limit_seconds=context.settings.stall_seconds
        )
        self._closing = Closing(claim, context, lease=self._lease, pump=self._pump)
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
            self._closing.release(f"an earlier attempt is still running: {error}", LOST)
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
        if (wished := self._forgotten_wish()) is not None:
            store = self._context.store
            self._lease.insist(lambda: carry_out(wished, store))
            self._closing.release("a newer request from its caller was found on disk")
            return
        try:
            run_config = self._lease.insist(lambda: run_config_of(self._job, self._context))
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
            self._gang.call(), self._slots, self._context, run_directory=self._run_directory
        )
        trainer = TrainerProcess(command, held=(lock, *self._slots.descriptors))
        oom_kills = self._context.oom_counter.read()
        watch = Watch(
            self._lease, self._pump, silence=self._silence, is_stopping=self._context.is_stopping
        )
        try:
            ending = watch.run(
                trainer,
                poll_seconds=self._context.settings.poll_seconds,
                seconds_left=self._seconds_left(),
            )
            if trainer.exit_code != 0:
                ending = self._gang.hear(ending)
        finally:
            trainer.close()
            self._kill_strays(mark_of(command.environment))
        end = End(trainer.exit_code, self._context.oom_counter.read() - oom_kills)
        judged = judge(self._job, self._run_directory, start, end)
        if ending is Ending.STALLED and isinstance(judged, Interrupted):
            judged = Interrupted(self._silence.words(step=self._pump.step))
        self._gang.tell_words(self._run_directory.log)
        self._conclude(ending, self._gang.judge(judged))

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
        self._lease.insist(lambda: outdate(self._claim, above=last.epoch))
        return True

    def _forgotten_wish(self) -> JobRecord | None:
        """Returns a cancellation or pause that a rolled-back store lost, or None."""
        try:
            record = Ledger(self._context.settings.home_directories).read(self._job.id)
        except (OSError, ValueError):
            return None  # a job needs no record to run
        is_newer = record.wished_at > self._job.wished_at
        return record if is_newer and record.wish is not Wish.GO_ON else None

    def _earlier_outcome(self) -> Outcome | None:
        """Returns the outcome of an attempt that was lost before it recorded the outcome."""
        result = valid_result(self._run_directory, self._job.result_floor)
        if result is not None:
            return result.outcome
        judged = judge(self._job, self._run_directory, Start(progress=0, log=0))
        return judged if isinstance(judged, Succeeded) else None

    def _seconds_left(self) -> float | None:
        """Returns the remaining seconds of max_run_seconds, or None without a limit."""
        limit = self._job.spec.max_run_seconds
        return None if limit is None else limit - self._job.run_seconds

    def _prepare(self, run_config: RunConfig) -> Start:
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
        return Start.of(self._run_directory)

    def _kill_strays(self, mark: str) -> None:
        """Kills processes left behind by a killed supervisor (normally none)."""
        if strays := kill_marked(mark):
            logger.warning("job %s: killed stray processes %s", self._job.id, strays)

    def _conclude(self, ending: Ending, outcome: Succeeded | Failed | Interrupted) -> None:
        if isinstance(outcome, Succeeded):
            self._closing.finish(outcome)
        elif ending in (Ending.CANCELLED, Ending.SAVED):
            self._closing.finish(Cancelled())
        elif ending is Ending.TIMED_OUT:
            self._closing.finish(Failed(self._out_of_time()))
        elif ending in _REASONS and _is_from_stopping(outcome):
            self._closing.release(_REASONS[ending])
        elif isinstance(outcome, Interrupted):
            self._closing.release(outcome.reason, loss_of(outcome))
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
    Ending.STOPPED: "the worker is shutting down",
    Ending.MEMBER_STOPPED: "one of its workers is shutting down",
    Ending.PAUSED: "a pause was requested",
}


def _is_from_stopping(outcome: Failed | Interrupted) -> bool:
    """Returns True if the stop explains the failure. A stop during startup causes odd failures."""
    return isinstance(outcome, Interrupted) or outcome.error.code == FailureCode.INTERNAL


def _disk_full(error: OSError) -> JobError:
    return JobError(
        code=FailureCode.DISK_FULL.value,
        message=f"cannot write {error.filename or 'the run directory'}: {error.strerror}",
    )
