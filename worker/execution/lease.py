"""The lease of an attempt: renewed by heartbeats, given up in time if Redis is unreachable."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from worker.execution.progress import LostError
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store.serialization import Claim, HeartbeatDirective
from worker.jobs.store.store import JobStore
from worker.settings import WorkerSettings

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Lease:
    """Sends heartbeats when they are due.

    Its clock starts before a heartbeat is sent: the worker gives up before the server does.
    """

    def __init__(
        self, heartbeat: Callable[[], HeartbeatDirective], *, job_id: str, settings: WorkerSettings
    ) -> None:
        self._heartbeat = heartbeat
        self._job_id = job_id
        self._settings = settings
        self._kept_at = time.monotonic()
        self._tried_at = self._kept_at

    @classmethod
    def from_claim(cls, claim: Claim, store: JobStore, settings: WorkerSettings) -> "Lease":
        """Returns the lease that a claim granted."""
        return cls(
            lambda: store.leases.heartbeat(claim, settings.lease_seconds),
            job_id=claim.job.id,
            settings=settings,
        )

    def renew(self) -> HeartbeatDirective:
        """Sends a heartbeat if one is due and returns the store's reply.

        Raises LostError if another worker holds the job, or may soon hold it.
        """
        now = time.monotonic()
        if now - self._tried_at >= self._settings.heartbeat_interval_seconds:
            self._tried_at = now
            try:
                directive = self._heartbeat()
            except StoreUnavailableError as error:
                logger.warning("job %s: heartbeat failed: %s", self._job_id, error)
            else:
                self._kept_at = now
                if directive is HeartbeatDirective.LOST:
                    raise LostError("the job is no longer this worker's")
                return directive
        if now - self._kept_at > self._settings.self_fence_seconds:
            raise LostError(f"no answer from Redis for {now - self._kept_at:.0f} s")
        return HeartbeatDirective.GO_ON

    def retry_until_fenced(self, call: Callable[[], Answer]) -> Answer:
        """Retries `call` while Redis is unavailable and returns its result.

        Raises LostError as `keep` does. Raises StoreUnavailableError if the call keeps failing
        while heartbeats succeed: a full server accepts heartbeats and nothing else.
        """
        give_up_at = time.monotonic() + self._settings.self_fence_seconds
        while True:
            try:
                return call()
            except StoreUnavailableError as error:
                if time.monotonic() > give_up_at:
                    raise
                logger.warning("job %s: retrying: %s", self._job_id, error)
            self.renew()
            time.sleep(self._settings.progress_poll_seconds)
