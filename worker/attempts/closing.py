"""The last words of an attempt: its end on disk, the rest of its news, its end in the store."""

import logging
from typing import Literal

from flant5_train.failure import FailureCode
from worker.attempts.lease import Lease
from worker.attempts.pump import LostError, Pump
from worker.attempts.result import keep_ends, write_result
from worker.causes.outcome import Interrupted
from worker.causes.retry import Retry
from worker.context import WorkerContext
from worker.jobs.errors import StorageFullError, StoreUnavailableError
from worker.jobs.result_file import FILENAME, keep_result_file
from worker.jobs.update import Claim, Loss, Outcome, Succeeded

LOST = Loss(FailureCode.WORKER_LOST.value)

logger = logging.getLogger(__name__)


class Closing:
    """Both ways raise LostError when the job is another's by now, and StoreUnavailableError."""

    def __init__(self, claim: Claim, context: WorkerContext, *, lease: Lease, pump: Pump) -> None:
        self._claim = claim
        self._job = claim.job
        self._context = context
        self._lease = lease
        self._pump = pump
        self._run_directory = context.settings.home_directories.run_directory(claim.job.id)

    def finish(self, outcome: Outcome) -> None:
        """Says the end on disk first, then in Redis, after everything that came before it."""
        if isinstance(outcome, Succeeded):
            self._keep_result_file()
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

    def release(self, reason: str, loss: Loss | None = None) -> None:
        """Gives the job back; a loss counts against it."""
        self._pump_rest()
        release = self._context.store.leases.release
        status = self._lease.insist(lambda: release(self._claim, reason=reason, loss=loss))
        logger.info("job %s: %s; now %s", self._job.id, reason, status)
        if status.is_final:
            home = self._context.settings.home_directories
            keep_ends(self._context.store, home, (self._job.id,))

    def _keep_result_file(self) -> None:
        """Before the end is on disk: a job that succeeded has its numbers, whoever tells the
        store."""
        try:
            keep_result_file(self._job, self._context.settings.home_directories)
        except (OSError, StorageFullError):
            # Its model is worth more than that.
            logger.exception("job %s: no %s", self._job.id, FILENAME)

    def _pump_rest(self) -> None:
        """The end of the log is what people look for: it must be in before the job ends."""
        try:
            while self._lease.insist(self._pump.pump):
                self._lease.keep()
        except StoreUnavailableError:
            logger.exception("job %s: the rest of its log is on disk only", self._job.id)


def loss_of(outcome: Interrupted) -> Loss:
    """What an interruption counts as."""
    counts_as: Literal["losses", "failures"]
    counts_as = "failures" if outcome.retry is Retry.ONCE else "losses"
    return Loss(outcome.code.value, counts_as=counts_as)
