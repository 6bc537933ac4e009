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

    def __init__(self, store: JobStore, claim: Claim, settings: WorkerSettings) -> None:
        self._store = store
        self._claim = claim
        self._settings = settings
        self._kept_at = time.monotonic()
        self._tried_at = self._kept_at

    def keep(self) -> Beat:
        """GO_ON or CANCEL. Raises LostError when the job is another's, or may be soon."""
        now = time.monotonic()
        if now - self._tried_at >= self._settings.beat_seconds:
            self._tried_at = now
            try:
                beat = self._store.leases.beat(self._claim, self._settings.lease_seconds)
            except StoreUnavailableError as error:
                logger.warning("job %s: no beat: %s", self._claim.job.id, error)
            else:
                self._kept_at = now
                if beat is Beat.LOST:
                    raise LostError("another worker has the job")
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
                logger.warning("job %s: trying again: %s", self._claim.job.id, error)
            self.keep()
            time.sleep(self._settings.poll_seconds)
