"""Finishes interrupted deletions and enforces finished ones.

Each round finishes the deletions that the store lists in `forgotten`. All tombstones are checked
periodically and after each server restart: a rolled-back store may list deleted jobs again, and a
late process may have recreated a deleted run directory.
"""

import logging
import time
from typing import cast

from redis import Redis

from worker.jobs.deletion import Deletions
from worker.jobs.errors import BusyError
from worker.jobs.storage.paths import Home
from worker.jobs.storage.tombstones import Kind, Tombstones
from worker.jobs.store.redis import translate_redis_errors
from worker.jobs.store.store import JobStore

CHECK_SECONDS = 30.0
"""Seconds between two checks of all tombstones."""
_BATCH = 1000

logger = logging.getLogger(__name__)


class UnfinishedDeletions:
    """Finishes and enforces deletions; see the module's docstring."""

    def __init__(self, store: JobStore, redis: Redis, home: Home) -> None:
        self._store = store
        self._redis = redis
        self._home = home
        self._tombstones = Tombstones(home)
        self._deletions = Deletions(store, home, lock_seconds=0)
        self._checked_at = 0.0
        self._server = ""
        self._reported: set[str] = set()

    def step(self) -> None:
        """Runs one round. Raises StoreUnavailableError; the next round retries."""
        for deletion in self._store.deleted.unfinished():
            self._finish(deletion)
        server = self._server_run()
        if server != self._server or time.monotonic() - self._checked_at > CHECK_SECONDS:
            self._enforce_all()
            self._tombstones.remove_old()
            self._server, self._checked_at = server, time.monotonic()

    def _finish(self, deletion: str) -> None:
        try:
            self._deletions.finish(deletion)
        except (BusyError, OSError, ValueError) as error:
            # Logged once: each round retries.
            if deletion not in self._reported:
                logger.warning("deletion of %s: not finished: %s", deletion, error)
            self._reported.add(deletion)
        else:
            self._reported.discard(deletion)
            logger.info("deletion of %s: finished", deletion)

    def _server_run(self) -> str:
        """Returns the server's run id. A restarted server may have lost the latest changes."""
        with translate_redis_errors():
            server = cast(dict[str, str], self._redis.info("server"))
        return server["run_id"]

    def _enforce_all(self) -> None:
        here = {path.name for path in self._home.jobs.glob("*")}
        deleted = self._tombstones.ids("job")
        for job_id in self._known(deleted) | (deleted & here):
            self._enforce(job_id, "job")
        for job_id in self._tombstones.ids("model") & here - deleted:
            self._enforce(job_id, "model")

    def _known(self, job_ids: frozenset[str]) -> set[str]:
        """Returns the jobs among these that the store has."""
        ids = sorted(job_ids)
        batches = (ids[first : first + _BATCH] for first in range(0, len(ids), _BATCH))
        return {each for batch in batches for each in {*batch} - {*self._store.unknown(batch)}}

    def _enforce(self, job_id: str, kind: Kind) -> None:
        try:
            tombstone = self._tombstones.read(job_id, kind)
            if tombstone is not None and self._deletions.enforce(tombstone):
                logger.warning("%s of %s: reappeared; deleted again", kind, job_id)
        except (BusyError, OSError, ValueError) as error:
            logger.warning("%s of %s: reappeared; cannot delete it: %s", kind, job_id, error)
