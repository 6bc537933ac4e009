"""The last loss of the store that a keeper noticed, as callers and operators see it."""

import logging
import time

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from worker.jobs.losses import Losses, LossLog
from worker.jobs.recovery import Recovery, RecoveryDesk

SHOWN_SECONDS = 600.0
"""Time for which a loss is shown after its jobs are back."""

_log = logging.getLogger(__name__)


class StoreLoss:
    """Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, losses: LossLog, desk: RecoveryDesk) -> None:
        self._losses = losses
        self._desk = desk

    def notice(self) -> str | None:
        """One line about the last loss; None when it is over and was a while ago."""
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
        """For Prometheus."""
        losses, recovery = self._read(), self._desk.state()
        return (
            CounterMetricFamily(
                "flant5_store_losses",
                "Times that a keeper noticed that Redis had lost data.",
                value=losses.num_losses,
            ),
            CounterMetricFamily(
                "flant5_store_lost_jobs",
                "Jobs that were then missing in Redis or in an older state than on disk.",
                value=losses.num_jobs,
            ),
            GaugeMetricFamily(
                "flant5_store_unrestored_jobs",
                "Jobs that the last recovery could not bring back as a whole.",
                value=0 if recovery is None else len(recovery.problems),
            ),
        )

    def _read(self) -> Losses:
        try:
            return self._losses.read()
        except OSError as error:
            _log.error("losses of the store can't be read: %s", error)
            return Losses()


def _outcome(recovery: Recovery | None, noticed_at: float) -> tuple[str, bool]:
    """What has become of the jobs since then, and whether that is over."""
    is_done = recovery is not None and recovery.status == "done"
    # A loss that is found in several rounds is noticed last after its recovery was asked for.
    if recovery is None or (is_done and (recovery.finished_at or 0.0) < noticed_at):
        return "they are not back yet (`flant5 recover` brings them back)", False
    if not is_done:
        return f"{len(recovery.restored)} are back so far", False
    if recovery.problems:
        return (
            f"{len(recovery.problems)} could not be brought back: GET /v1/recover says why",
            False,
        )
    return "all are back", True
