"""The controller: a reconcile loop over jobs, files and the store.

Each round:

- detects data loss in the store, and restores lost jobs when a recovery is requested,
- requeues jobs with an expired lease,
- validates the files of new jobs,
- repeats the wake-ups of queued jobs,
- finishes interrupted deletions, and removes old data.

Every step is atomic in Redis: a controller may be killed at any time, and several may run.
"""

import logging
import os
import select
import signal
import time
from typing import cast

from redis import Redis

from worker.controller.deletions import UnfinishedDeletions
from worker.controller.recovery import Recoverer
from worker.controller.retention import Retention
from worker.controller.store_watch import StoreWatch
from worker.controller.validation import CheckArgv, FileValidator, check_argv
from worker.daemon import DaemonPresence
from worker.execution.records import keep_ends
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.redis_address import RedisAddress
from worker.jobs.startup.service_identity import ServiceIdentity
from worker.jobs.storage.files import FileStore
from worker.jobs.store.notify import JobNotifier, num_notifications
from worker.jobs.store.recovery import RecoveryRequests
from worker.jobs.store.redis import open_redis, translate_redis_errors
from worker.jobs.store.store import JobStore
from worker.processes.process_tree import signal_fd
from worker.settings import WorkerSettings

MAX_JOBS = 100
"""Maximum number of jobs per round and step."""
STALE_NOTIFICATION_SECONDS = 600.0
"""Seconds after which a wake-up is sent again even if others are pending: it may have been lost,
and the queue of wake-ups may never be empty."""
LOOK_SECONDS = 0.25
"""Seconds between two checks for new jobs, which should not wait for a full, more expensive round.
Each check takes CPU time from a trainer that uses all cores."""
IDLE_NOTIFICATION_SECONDS = 2.0
"""Seconds after which a wake-up is sent again while a worker that could run the job is idle."""

logger = logging.getLogger(__name__)


class Controller:
    """Runs the rounds; see the module's docstring."""

    def __init__(
        self, settings: WorkerSettings, redis: Redis, *, argv: CheckArgv = check_argv
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._store = JobStore(redis, settings.queue_policy)
        self._notifier = JobNotifier(settings.redis_url)
        files = FileStore(settings.home_directories, settings.data_root)
        self._validation = FileValidator(self._store, files, settings, argv=argv)
        desk = RecoveryRequests(self._store.scripts)
        self._store_watch = StoreWatch(self._store, redis, desk, settings)
        self._recoverer = Recoverer(self._store, desk, settings)
        self._deletions = UnfinishedDeletions(self._store, redis, settings.home_directories)
        self._cleanup = Retention(self._store, settings)
        self._presence = DaemonPresence(redis)
        address = RedisAddress.parse(settings.redis_url.get_secret_value())
        self._identity = ServiceIdentity(redis, settings.home_directories, address)
        self._started_at = time.monotonic()

    def round(self) -> None:
        """Runs all steps once.

        Raises StoreUnavailableError; the next round retries. Raises StartRefusedError if the store
        now belongs to another service.
        """
        self._identity.keep()
        self._store_watch.step()
        self._recoverer.step()
        self._reap()
        self._validation.step()
        self._notify()
        self._deletions.step()
        self._cleanup.step()
        self._presence.register()

    def wait(self, stop: int) -> bool:
        """Waits until the next round is due, a check has ended, or a new job exists.

        Returns True if `stop` became readable.
        """
        due_at = time.monotonic() + self._settings.controller_interval_seconds
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
            return False  # the next round reports it

    def close(self) -> None:
        self._store_watch.close()
        self._recoverer.close()
        self._validation.close()
        self._notifier.close()

    def _reap(self) -> None:
        """Requeues jobs with an expired lease, once Redis and the controller are up for one lease.

        Without the wait, workers that could not send heartbeats during a Redis outage would lose
        their jobs.
        """
        if time.monotonic() - self._started_at < self._settings.lease_seconds:
            return
        with translate_redis_errors():
            server = cast(dict[str, int], self._redis.info("server"))
        up_seconds = min(server["uptime_in_seconds"], self._store_watch.steady_seconds)
        if up_seconds < self._settings.lease_seconds:
            return
        reaped = self._store.leases.reap(MAX_JOBS)
        for job_id in reaped:
            logger.warning("job %s: its lease expired", job_id)
        keep_ends(self._store, self._settings.home_directories, reaped)

    def _notify(self) -> None:
        """Repeats wake-ups that may have been lost.

        A wake-up can be lost only after it left the queue. Repeating wake-ups while others are
        pending would pile them up.
        """
        is_silent = num_notifications(self._redis) == 0
        age = self._settings.requeue_notify_seconds if is_silent else STALE_NOTIFICATION_SECONDS
        # If no wake-up is pending and a worker is idle, the wake-up was lost, or a worker that is
        # too small consumed it.
        idle_seconds = IDLE_NOTIFICATION_SECONDS if is_silent else age
        for job_id in self._store.leases.pending_notifications(
            age, MAX_JOBS, idle_seconds=idle_seconds
        ):
            self._notifier.notify(job_id)


def run_controller(settings: WorkerSettings, *, argv: CheckArgv = check_argv) -> None:
    """Runs the controller until SIGTERM or SIGINT."""
    stop = signal_fd(signal.SIGTERM, signal.SIGINT)
    timeout = settings.redis_timeout_seconds
    with open_redis(settings.redis_url, timeout_seconds=timeout) as redis:
        controller = Controller(settings, redis, argv=argv)
        try:
            while not controller.wait(stop):
                try:
                    controller.round()
                except StoreUnavailableError as error:
                    logger.warning("round failed; retrying: %s", error)
                    # Not `wait`, which would return at once for a check that has ended.
                    if select.select([stop], [], [], settings.controller_interval_seconds)[0]:
                        break
        finally:
            controller.close()
            os.close(stop)
