"""Notice and metrics of the last data loss in the store that a controller detected."""

import logging
import time

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from worker.jobs.storage.store_losses import DataLossLog, DataLossSummary
from worker.jobs.store.recovery import Recovery, RecoveryRequests

SHOWN_SECONDS = 600.0
"""Time for which a loss is shown after its jobs were restored, in seconds."""

_log = logging.getLogger(__name__)


class StoreLoss:
    """Reports on lost store data. Every method raises StoreUnavailableError if Redis does not
    respond."""

    def __init__(self, losses: DataLossLog, desk: RecoveryRequests) -> None:
        self._losses = losses
        self._desk = desk

    def notice(self) -> str | None:
        """Returns one line about the last loss. None if it was resolved some time ago."""
        last = self._read().last
        if last is None:
            return None
        recovery = self._desk.state()
        outcome, is_over = _outcome(recovery, last.noticed_at)
        if (is_over or not last.num_jobs) and time.time() - last.noticed_at > SHOWN_SECONDS:
            return None
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(last.noticed_at))
        noticed = f"{last.account}; noticed at {at}"
        return f"{noticed}; {outcome}" if last.num_jobs else noticed

    def families(self) -> tuple[Metric, ...]:
        """Returns the Prometheus metrics."""
        losses, recovery = self._read(), self._desk.state()
        return (
            CounterMetricFamily(
                "flant5_store_losses",
                "Data losses in Redis that a controller detected.",
                value=losses.num_losses,
            ),
            CounterMetricFamily(
                "flant5_store_lost_jobs",
                "Jobs affected by these losses: missing in Redis, or older there than on disk.",
                value=losses.num_jobs,
            ),
            GaugeMetricFamily(
                "flant5_store_unrestored_jobs",
                "Jobs that the last recovery could not completely restore.",
                value=0 if recovery is None else len(recovery.problems),
            ),
        )

    def _read(self) -> DataLossSummary:
        try:
            return self._losses.read()
        except OSError as error:
            _log.error("store losses: cannot read the log: %s", error)
            return DataLossSummary()


def _outcome(recovery: Recovery | None, noticed_at: float) -> tuple[str, bool]:
    """Returns the recovery state of the lost jobs, and whether the recovery is complete."""
    is_done = recovery is not None and recovery.status == "done"
    # A loss found in several rounds may be noticed again after its recovery was requested.
    if recovery is None or (is_done and (recovery.finished_at or 0.0) < noticed_at):
        return "they are not restored yet (restore them with `flant5 recover`)", False
    if not is_done:
        return f"{len(recovery.restored)} are restored so far", False
    if recovery.problems:
        return (
            f"{len(recovery.problems)} could not be restored: see GET /v1/recover",
            False,
        )
    return "all are back", True
