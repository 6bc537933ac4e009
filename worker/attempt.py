"""One attempt: the claim of a job, its trainer from start to end, and what is said about it.

    claim -> run.json -> supervisor -> watch (pump, beat) -> result.json -> pump the rest -> finish

An attempt that loses its lease, or Redis for too long, ends its trainer and writes nothing more:
by then the job may be another worker's.
"""

import errno
import logging
import os
import socket
import time
from typing import Literal

from flant5_train.config import RunConfig
from flant5_train.failure import FailureCode
from worker.attempt_record import AttemptRecord, write_attempt
from worker.context import WorkerContext
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.job import JobError
from worker.jobs.update import Cancelled, Claim, Failed, Loss, Outcome, Succeeded
from worker.launch import TRAINER_MARK, trainer_environment
from worker.lease import Lease
from worker.lock import LockedError, holder_text, take_lock_to_share
from worker.outcome import Interrupted, Start, judge
from worker.process_tree import kill_marked
from worker.pump import LostError, Pump
from worker.result import keep_ends, valid_result, write_result
from worker.retry import Retry
from worker.run_config import MissingInputError, run_config_of
from worker.settings import inherited_environment
from worker.slot_locks import HeldSlots
from worker.traces import End
from worker.trainer_process import TrainerCommand, TrainerProcess
from worker.watch import Ending, Watch

LOCK_SECONDS = 5.0
"""Time the processes of an attempt that was lost have to be gone; they need a tenth of a second."""
SPARE_SECONDS = 2.0
"""What the supervisor waits longer than torchrun does, so that torchrun says why it ends."""

logger = logging.getLogger(__name__)


class Attempt:
    """One execution of the trainer for a job, under one lease."""

    def __init__(self, claim: Claim, slots: HeldSlots, context: WorkerContext) -> None:
        self._claim = claim
        self._job = claim.job
        self._slots = slots
        self._context = context
        self._run_directory = context.settings.home_directories.run_directory(claim.job.id)
        self._lease = Lease(context.store, claim, context.settings)
        self._pump = Pump(context.store, claim, self._run_directory)

    def run(self) -> None:
        """Returns when the job is told its end, or is back in the queue.

        Raises LostError and StoreUnavailableError; no process is left then either.
        """
        # First, because they share the lock.
        self._kill_stray_processes()
        holder = holder_text(self._context.settings.worker_name, job_id=self._job.id)
        try:
            lock = take_lock_to_share(
                self._run_directory.lock, holder=holder, patience_seconds=LOCK_SECONDS
            )
        except LockedError as error:
            self._release(f"an earlier attempt still runs: {error}", _LOST)
            return
        try:
            self._run_locked(lock)
        finally:
            os.close(lock)

    def _run_locked(self, lock: int) -> None:
        if (outcome := self._earlier_outcome()) is not None:
            logger.info("job %s has ended in an earlier attempt", self._job.id)
            self._finish(outcome)
            return
        try:
            run_config = self._lease.insist(lambda: run_config_of(self._job, self._context))
            start = self._prepare(run_config)
        except MissingInputError as error:
            self._finish(Failed(error.error))
            return
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._finish(Failed(_disk_full(error)))
            return
        trainer = TrainerProcess(self._command(run_config), held=(lock, *self._slots.descriptors))
        oom_kills = self._context.oom_counter.read()
        watch = Watch(self._lease, self._pump, is_stopping=self._context.is_stopping)
        try:
            ending = watch.run(
                trainer,
                poll_seconds=self._context.settings.poll_seconds,
                seconds_left=self._seconds_left(),
            )
        finally:
            trainer.close()
            self._kill_stray_processes()
        end = End(trainer.exit_code, self._context.oom_counter.read() - oom_kills)
        self._conclude(ending, judge(self._job, self._run_directory, start, end))

    def _earlier_outcome(self) -> Outcome | None:
        """The outcome of an attempt that was lost between its end and telling it."""
        result = valid_result(self._run_directory, self._job.result_floor)
        if result is not None:
            return result.outcome
        judged = judge(self._job, self._run_directory, Start(progress=0, log=0))
        return judged if isinstance(judged, Succeeded) else None

    def _seconds_left(self) -> float | None:
        """None without a limit."""
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

    def _kill_stray_processes(self) -> None:
        """Whoever outlived a supervisor that was killed; usually nobody."""
        if strays := kill_marked(f"{TRAINER_MARK}={self._run_directory.torch_error}"):
            logger.warning("job %s: killed stray processes %s", self._job.id, strays)

    def _command(self, run_config: RunConfig) -> TrainerCommand:
        num_processes = run_config.hyperparameters.num_gpus
        grace = self._context.settings.trainer_grace_seconds
        return TrainerCommand(
            argv=self._context.trainer_argv(self._run_directory.run_config, num_processes, grace),
            environment=trainer_environment(
                inherited_environment(),
                num_processes=num_processes,
                run_directory=self._run_directory,
                held_locks=(self._run_directory.lock, *self._slots.paths),
                visible_devices=self._slots.visible_devices,
            ),
            log=self._run_directory.log,
            grace_seconds=grace + SPARE_SECONDS,
        )

    def _conclude(self, ending: Ending, outcome: Succeeded | Failed | Interrupted) -> None:
        if isinstance(outcome, Succeeded):
            self._finish(outcome)
        elif ending in (Ending.CANCELLED, Ending.SAVED):
            self._finish(Cancelled())
        elif ending is Ending.TIMED_OUT:
            self._finish(Failed(self._out_of_time()))
        elif ending in _REASONS and _is_from_stopping(outcome):
            self._release(_REASONS[ending], None)
        elif isinstance(outcome, Interrupted):
            self._release(outcome.reason, _loss_of(outcome))
        else:
            self._finish(outcome)

    def _out_of_time(self) -> JobError:
        return JobError(
            code=FailureCode.TIMEOUT.value,
            message=f"the job was on a worker for {self._job.spec.max_run_seconds} s, its "
            "max_run_seconds; resuming it goes on from its newest checkpoint for the same time",
            param="max_run_seconds",
        )

    def _finish(self, outcome: Outcome) -> None:
        """Says the end on disk first, then in Redis, after everything that came before it."""
        try:
            write_result(self._run_directory.result, outcome, epoch=self._claim.epoch)
        except OSError:
            # On a full disk the job's end must still be told.
            logger.exception("job %s: its result is in Redis only", self._job.id)
        self._pump_rest()
        finish = self._context.store.leases.finish
        if not self._lease.insist(lambda: finish(self._claim, outcome)):
            raise LostError(f"job {self._job.id} is no longer ours; its end is in result.json")
        logger.info("job %s: %s", self._job.id, type(outcome).__name__.lower())

    def _release(self, reason: str, loss: Loss | None) -> None:
        self._pump_rest()
        release = self._context.store.leases.release
        status = self._lease.insist(lambda: release(self._claim, reason=reason, loss=loss))
        logger.info("job %s: %s; now %s", self._job.id, reason, status)
        if status.is_final:
            keep_ends(self._context.store, self._context.settings.home_directories, (self._job.id,))

    def _pump_rest(self) -> None:
        """The end of the log is what people look for: it must be in before the job ends."""
        try:
            while self._lease.insist(self._pump.pump):
                self._lease.keep()
        except StoreUnavailableError:
            logger.exception("job %s: the rest of its log is on disk only", self._job.id)


_LOST = Loss(FailureCode.WORKER_LOST.value)
_REASONS = {Ending.STOPPED: "the worker stops", Ending.PAUSED: "it is to pause"}


def _is_from_stopping(outcome: Failed | Interrupted) -> bool:
    """A trainer that is interrupted while it starts up fails in odd ways."""
    return isinstance(outcome, Interrupted) or outcome.error.code == FailureCode.INTERNAL


def _loss_of(outcome: Interrupted) -> Loss:
    counts_as: Literal["losses", "failures"]
    counts_as = "failures" if outcome.retry is Retry.ONCE else "losses"
    return Loss(outcome.code.value, counts_as=counts_as)


def _disk_full(error: OSError) -> JobError:
    return JobError(
        code=FailureCode.DISK_FULL.value,
        message=f"{error.filename or 'the run directory'} could not be written: {error.strerror}",
    )
