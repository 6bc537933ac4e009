"""The keeper: brings back what was lost and checks the files of new jobs.

Each round: losses of the store are noticed, jobs whose lease ran out go back into the queue, jobs
that wait get their doorbell rung, new jobs get their files checked; jobs that the store lost are
restored when that was noticed or asked for; deletions that were broken off are finished, and what
is old is removed. Every step is atomic in Redis, so a keeper may be killed at any time and several
may run.
"""

import logging
import os
import select
import signal
import time
from typing import cast

from redis import Redis

from worker.attempts.result import keep_ends
from worker.jobs.connection import open_redis, unavailable
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.files import FileStore
from worker.jobs.queue import Doorbell, num_doorbells
from worker.jobs.recovery import RecoveryDesk
from worker.jobs.redis_address import RedisAddress
from worker.jobs.service_identity import ServiceIdentity
from worker.jobs.store import JobStore
from worker.keeper.cleanup import Cleanup
from worker.keeper.deletions import UnfinishedDeletions
from worker.keeper.file_check import CheckArgv, check_argv
from worker.keeper.presence import KeeperPresence
from worker.keeper.recovery import Recoverer
from worker.keeper.store_watch import StoreWatch
from worker.keeper.validation import Validation
from worker.processes.wakeup import readable_on
from worker.settings import WorkerSettings

MAX_JOBS = 100
"""Jobs moved per round and kind."""
STALE_DOORBELL_SECONDS = 600.0
"""Age at which a doorbell is rung again although others are waiting: it may have been lost, and
the queue need not ever be empty."""
LOOK_SECONDS = 0.25
"""Time between two looks for new jobs: they are not to wait for a round, which costs more. Each
look takes a moment from a trainer that uses all cores."""
IDLE_DOORBELL_SECONDS = 2.0
"""Age at which it is rung again while a worker that could take the job is idle."""

logger = logging.getLogger(__name__)


class Keeper:
    """One round after the other; see the module's docstring."""

    def __init__(
        self, settings: WorkerSettings, redis: Redis, *, argv: CheckArgv = check_argv
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._store = JobStore(redis, settings.rules)
        self._doorbell = Doorbell(settings.redis_url)
        files = FileStore(settings.home_directories, settings.data_root)
        self._validation = Validation(self._store, files, settings, argv=argv)
        desk = RecoveryDesk(self._store.scripts)
        self._store_watch = StoreWatch(self._store, redis, desk, settings)
        self._recoverer = Recoverer(self._store, desk, settings)
        self._deletions = UnfinishedDeletions(self._store, redis, settings.home_directories)
        self._cleanup = Cleanup(self._store, settings)
        self._presence = KeeperPresence(redis)
        address = RedisAddress.parse(settings.redis_url.get_secret_value())
        self._identity = ServiceIdentity(redis, settings.home_directories, address)
        self._started_at = time.monotonic()

    def round(self) -> None:
        """Raises StoreUnavailableError: the next round does what this one could not; and
        StartRefusedError when the store belongs to another service by now."""
        self._identity.keep()
        self._store_watch.step()
        self._recoverer.step()
        self._reap()
        self._validation.step()
        self._ring()
        self._deletions.step()
        self._cleanup.step()
        self._presence.appear()

    def wait(self, stop: int) -> bool:
        """Until the next round is due: at once when a check has ended or a new job is there.

        True when `stop` became readable.
        """
        due_at = time.monotonic() + self._settings.keeper_seconds
        while (seconds := due_at - time.monotonic()) > 0:
            waited_for = [stop, *self._validation.ends]
            readable, _, _ = select.select(waited_for, [], [], min(seconds, LOOK_SECONDS))
            if readable or self._has_new_jobs():
                return stop in readable
        return False

    def _has_new_jobs(self) -> bool:
        try:
            return self._validation.has_new_jobs()
        except StoreUnavailableError:
            return False  # the round says so when it is due

    def close(self) -> None:
        self._store_watch.close()
        self._recoverer.close()
        self._validation.close()
        self._doorbell.close()

    def _reap(self) -> None:
        """Not before Redis and the keeper have been up for one lease: workers that could not
        beat while Redis was away are given the time to."""
        if time.monotonic() - self._started_at < self._settings.lease_seconds:
            return
        with unavailable():
            server = cast(dict[str, int], self._redis.info("server"))
        up_seconds = min(server["uptime_in_seconds"], self._store_watch.steady_seconds)
        if up_seconds < self._settings.lease_seconds:
            return
        reaped = self._store.leases.reap(MAX_JOBS)
        for job_id in reaped:
            logger.warning("job %s: its lease ran out", job_id)
        keep_ends(self._store, self._settings.home_directories, reaped)

    def _ring(self) -> None:
        """A doorbell can be lost only after it left the queue; while others wait there, ringing
        again would pile them up."""
        is_silent = num_doorbells(self._redis) == 0
        age = self._settings.doorbell_seconds if is_silent else STALE_DOORBELL_SECONDS
        # A bell that is in nobody's ear while a worker is idle has been lost, or was taken by a
        # worker that is too small.
        idle_seconds = IDLE_DOORBELL_SECONDS if is_silent else age
        for job_id in self._store.leases.bells(age, MAX_JOBS, idle_seconds=idle_seconds):
            self._doorbell.ring(job_id)


def run_keeper(settings: WorkerSettings, *, argv: CheckArgv = check_argv) -> None:
    """Returns on SIGTERM or SIGINT."""
    stop = readable_on(signal.SIGTERM, signal.SIGINT)
    timeout = settings.redis_timeout_seconds
    with open_redis(settings.redis_url, timeout_seconds=timeout) as redis:
        keeper = Keeper(settings, redis, argv=argv)
        try:
            while not keeper.wait(stop):
                try:
                    keeper.round()
                except StoreUnavailableError as error:
                    logger.warning("round not finished: %s", error)
                    # Not `wait`, which would end at once for a check that has ended.
                    if select.select([stop], [], [], settings.keeper_seconds)[0]:
                        break
        finally:
            keeper.close()
            os.close(stop)
