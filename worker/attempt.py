"""One attempt: the claim of a job, its trainer from start to end, and what is said about it.

    claim -> run.json -> supervisor -> watch (pump, beat) -> result.json -> pump the rest -> finish

An attempt that loses its lease, or Redis for too long, ends its trainer and writes nothing more:
by then the job may be another worker's.
"""

import logging
import os
from enum import Enum, auto

from flant5_train.config import RunConfig
from flant5_train.failure import FailureCode
from worker.context import WorkerContext
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.update import Beat, Cancelled, Claim, Failed, Outcome, Succeeded
from worker.launch import TRAINER_MARK, trainer_environment
from worker.lease import Lease
from worker.lock import LockedError, take_lock
from worker.outcome import Interrupted, Start, judge
from worker.process_tree import kill_marked
from worker.pump import LostError, Pump
from worker.result import read_result, write_result
from worker.run_config import MissingInputError, run_config_of
from worker.settings import inherited_environment
from worker.trainer_process import TrainerCommand, TrainerProcess

LOCK_SECONDS = 5.0
"""Time the processes of an attempt that was lost have to be gone; they need a tenth of a second."""
MAX_PORTIONS = 16
"""Portions pumped between two looks at the trainer and the lease."""
SPARE_SECONDS = 2.0
"""What the supervisor waits longer than torchrun does, so that torchrun says why it ends."""

logger = logging.getLogger(__name__)


class Ending(Enum):
    """Why the watch over a trainer ended."""

    ENDED = auto()
    CANCELLED = auto()
    STOPPED = auto()
    """The worker stops; the trainer was asked to save and has ended."""


def run_job(job_id: str, context: WorkerContext) -> None:
    """Runs the next attempt of a job, if there is one to run: a doorbell may be late or double."""
    if context.is_stopping():
        return  # the keeper rings again
    settings = context.settings
    try:
        claim = context.store.leases.claim(
            job_id, worker=settings.worker_name, lease_seconds=settings.lease_seconds
        )
    except StoreUnavailableError as error:
        logger.warning("job %s not claimed: %s", job_id, error)
        return
    if claim is None:
        logger.info("job %s: nothing to claim", job_id)
        return
    logger.info("job %s: attempt %d begins", job_id, claim.attempt)
    try:
        Attempt(claim, context).run()
    except LostError as error:
        logger.warning("job %s: attempt %d ends: %s", job_id, claim.attempt, error)
    except StoreUnavailableError as error:
        logger.warning("job %s: its end could not be told: %s", job_id, error)


class Attempt:
    """One execution of the trainer for a job, under one lease."""

    def __init__(self, claim: Claim, context: WorkerContext) -> None:
        self._claim = claim
        self._job = claim.job
        self._context = context
        self._run_directory = context.settings.home_directories.run_directory(claim.job.id)
        self._lease = Lease(context.store, claim, context.settings)
        self._pump = Pump(context.store, claim, self._run_directory)

    def run(self) -> None:
        """Returns when the job is told its end, or is back in the queue.

        Raises LostError and StoreUnavailableError; no process is left then either.
        """
        try:
            lock = take_lock(self._run_directory.lock, patience_seconds=LOCK_SECONDS)
        except LockedError as error:
            self._release(f"an earlier attempt still runs: {error}", lost=True)
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
        except MissingInputError as error:
            self._finish(Failed(error.error))
            return
        start = self._prepare(run_config)
        trainer = TrainerProcess(self._command(run_config), held=lock)
        try:
            ending = self._watch(trainer)
        finally:
            trainer.close()
            self._kill_stray_processes()
        self._conclude(ending, start)

    def _earlier_outcome(self) -> Outcome | None:
        """The outcome of an attempt that was lost between its end and telling it."""
        result = read_result(self._run_directory.result)
        if result is not None:
            return result.outcome
        judged = judge(self._job, self._run_directory, Start(progress=0, log=0))
        return judged if isinstance(judged, Succeeded) else None

    def _prepare(self, run_config: RunConfig) -> Start:
        run_config.write(self._run_directory.run_config)
        self._run_directory.failure.unlink(missing_ok=True)
        self._run_directory.torch_error.unlink(missing_ok=True)
        self._kill_stray_processes()
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
            ),
            log=self._run_directory.log,
            grace_seconds=grace + SPARE_SECONDS,
        )

    def _watch(self, trainer: TrainerProcess) -> Ending:
        """Returns when the trainer is gone. Raises LostError when the lease is."""
        is_stopping = False
        while not trainer.has_ended_within(self._context.settings.poll_seconds):
            self._try_pump()
            if self._lease.keep() is Beat.CANCEL:
                trainer.kill()
                return Ending.CANCELLED
            if not is_stopping and self._context.is_stopping():
                is_stopping = True
                trainer.stop()
        return Ending.STOPPED if is_stopping else Ending.ENDED

    def _conclude(self, ending: Ending, start: Start) -> None:
        outcome = judge(self._job, self._run_directory, start)
        if isinstance(outcome, Succeeded):
            self._finish(outcome)
        elif ending is Ending.CANCELLED:
            self._finish(Cancelled())
        elif isinstance(outcome, Interrupted):
            reason = "the worker stops" if ending is Ending.STOPPED else outcome.reason
            self._release(reason, lost=ending is not Ending.STOPPED)
        elif ending is Ending.STOPPED and outcome.error.code == FailureCode.INTERNAL:
            # A trainer that is interrupted while it starts up fails in odd ways.
            self._release("the worker stops", lost=False)
        else:
            self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        """Says the end on disk first, then in Redis, after everything that came before it."""
        write_result(self._run_directory.result, outcome, epoch=self._claim.epoch)
        self._pump_rest()
        if not self._lease.insist(lambda: self._context.store.leases.finish(self._claim, outcome)):
            raise LostError(f"job {self._job.id} is no longer ours; its end is in result.json")
        logger.info("job %s: %s", self._job.id, type(outcome).__name__.lower())

    def _release(self, reason: str, *, lost: bool) -> None:
        self._pump_rest()
        status = self._lease.insist(
            lambda: self._context.store.leases.release(self._claim, reason=reason, lost=lost)
        )
        logger.info("job %s: %s; now %s", self._job.id, reason, status)

    def _pump_rest(self) -> None:
        """The end of the log is what people look for: it must be in before the job ends."""
        try:
            while self._lease.insist(self._pump.pump):
                self._lease.keep()
        except StoreUnavailableError:
            logger.exception("job %s: the rest of its log is on disk only", self._job.id)

    def _try_pump(self) -> None:
        try:
            for _ in range(MAX_PORTIONS):
                if not self._pump.pump():
                    return
        except StoreUnavailableError as error:
            logger.warning("job %s: news wait for Redis: %s", self._job.id, error)
