"""Finalizes an attempt: writes `result.json`, flushes progress, records the outcome in Redis."""

import logging
from typing import Literal

from flant5_train.protocol.failure import FailureCode
from worker.causes.retry import Retry
from worker.context import WorkerContext
from worker.execution.lease import Lease
from worker.execution.progress import LostError, Pump
from worker.execution.records import keep_ends, write_result
from worker.failures.outcome import Interrupted
from worker.jobs.errors import StorageFullError, StoreUnavailableError
from worker.jobs.storage.run_files import FILENAME, keep_result_file
from worker.jobs.update import Claim, Loss, Outcome, Succeeded

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
