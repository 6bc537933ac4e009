"""The lease of an attempt: kept by beats, given up in time when Redis is away."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from worker.attempts.pump import LostError
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store import JobStore
from worker.jobs.update import Beat, Claim
from worker.settings import WorkerSettings

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Lease:
    """Beats when it is time to. Its clock runs from before a beat is sent, so that the worker
    gives up before the server does."""

    def __init__(self, beat: Callable[[], Beat], *, job_id: str, settings: WorkerSettings) -> None:
        self._beat = beat
        self._job_id = job_id
        self._settings = settings
        self._kept_at = time.monotonic()
        self._tried_at = self._kept_at

    @classmethod
    def of(cls, claim: Claim, store: JobStore, settings: WorkerSettings) -> "Lease":
        """The one that a claim gave."""
        return cls(
            lambda: store.leases.beat(claim, settings.lease_seconds),
            job_id=claim.job.id,
            settings=settings,
        )

    def keep(self) -> Beat:
        """What the store answers. Raises LostError when the job is another's, or may be soon."""
        now = time.monotonic()
        if now - self._tried_at >= self._settings.beat_seconds:
            self._tried_at = now
            try:
                beat = self._beat()
            except StoreUnavailableError as error:
                logger.warning("job %s: no beat: %s", self._job_id, error)
            else:
                self._kept_at = now
                if beat is Beat.LOST:
                    raise LostError("the job is no longer this worker's")
                return beat
        if now - self._kept_at > self._settings.self_fence_seconds:
            raise LostError(f"no answer from Redis for {now - self._kept_at:.0f} s")
        return Beat.GO_ON

    def insist(self, call: Callable[[], Answer]) -> Answer:
        """The answer of `call`, tried again while Redis is away.

        Raises LostError as `keep` does, and StoreUnavailableError when the lease is kept but the
        call is refused for as long: a full server takes beats and nothing else.
        """
        give_up_at = time.monotonic() + self._settings.self_fence_seconds
        while True:
            try:
                return call()
            except StoreUnavailableError as error:
                if time.monotonic() > give_up_at:
                    raise
                logger.warning("job %s: trying again: %s", self._job_id, error)
            self.keep()
            time.sleep(self._settings.poll_seconds)
