"""The watch over the store: notices that it lost data, reports that, and asks for a recovery.

Each round, at a bounded cost:

    signs of the server -> a reason to compare all jobs on disk with the store, newest first
    a portion of all jobs in turn -> jobs that are gone, index entries that are missing or stale
    what was found -> log, losses.jsonl (API, dashboard, doctor, metrics), a recovery

A store that knows nearly none of the jobs on disk is empty, or the wrong one: jobs are brought back
into it only when somebody asks (`flant5 recover`).
"""

import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterable

from redis import Redis

from worker.jobs.errors import NotFoundError
from worker.jobs.lock import LockedError, take_lock
from worker.jobs.losses import MAX_NAMED, Loss, LossLog
from worker.jobs.mark import Mark, MarkFile, StoreMark
from worker.jobs.recovery import RecoveryDesk
from worker.jobs.store import JobStore
from worker.keeper.comparison import Compared, Difference, Differences, Unreadable
from worker.keeper.disk_jobs import DiskJobs
from worker.keeper.server_signs import ServerSigns, read_signs
from worker.settings import WorkerSettings

SLICE_SECONDS = 0.25
"""Time that one round gives to the comparison of all jobs."""
MAX_MENDED = 100
"""Jobs looked after per round, in turn."""
PAUSE_SECONDS = 60.0
"""Time between two reports, and two recoveries, of a server that evicts keys."""
_BATCH = 25
_SAMPLE = 200
"""Jobs on disk by which a store without its name is told from an empty one."""

logger = logging.getLogger(__name__)


class StoreWatch:
    """One keeper of a HOME does it at a time; the others have nothing to do here."""

    def __init__(
        self, store: JobStore, redis: Redis, desk: RecoveryDesk, settings: WorkerSettings
    ) -> None:
        home = settings.home_directories
        self._store, self._redis, self._desk, self._settings = store, redis, desk, settings
        self._differences = Differences(store, home)
        self._disk = DiskJobs(home)
        self._mark_file = MarkFile(home.store_mark)
        self._losses = LossLog(home.losses)
        self._lock_file = home.workers / "store_watch.lock"
        self._lock: int | None = None
        self._signs: ServerSigns | None = None
        self._mark = self._mark_on_disk = Mark()
        self._to_compare: deque[str] = deque()
        self._to_mend: deque[str] = deque()
        self._behind: dict[str, Difference] = {}
        """Jobs found behind the disk and not yet brought up to it."""
        self._found: dict[str, Difference] = {}
        self._mended: list[str] = []
        """What was found and not yet reported."""
        self._is_whole_loss = False
        self._steady_since = self._reported_at = self._asked_at = -math.inf

    @property
    def steady_seconds(self) -> float:
        """Time since the server was last seen to be another one; infinite when it never was."""
        return time.monotonic() - self._steady_since

    def step(self) -> None:
        """Raises StoreUnavailableError; the next call goes on where this one stood."""
        if not self._is_mine():
            return
        try:
            self._look()
        except (OSError, ValueError) as error:
            logger.error("the store can't be compared with the disk: %s", error)

    def close(self) -> None:
        """Lets another keeper watch."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _is_mine(self) -> bool:
        if self._lock is None:
            try:
                self._lock = take_lock(self._lock_file, patience_seconds=0)
            except LockedError:
                return False
            except OSError as error:
                logger.error("no watch over the store: %s", error)
                return False
            self._mark = self._mark_on_disk = self._read_mark()
        return True

    def _read_mark(self) -> Mark:
        try:
            return self._mark_file.read()
        except (OSError, ValueError) as error:
            logger.error("the last mark of the store can't be read, and is written anew: %s", error)
            return Mark()

    def _look(self) -> None:
        if not self._is_ours(StoreMark(self._redis).read()):
            self._signs = None
            return
        signs = read_signs(self._redis)
        went_back, reasons = self._compare_with_last(signs)
        if went_back or reasons:
            self._to_compare = deque(self._disk.newest_first())
        found = self._compare_some()
        mended = self._mend_some(found)
        self._keep_mark()
        cause = "; ".join(went_back or reasons) or "jobs on disk were compared with it in turn"
        self._found |= found
        self._mended += mended
        if (went_back or self._found or self._mended) and not self._is_too_soon(self._reported_at):
            self._report(cause)
        self._ask_for_recovery(cause)

    def _compare_with_last(self, signs: ServerSigns) -> tuple[list[str], list[str]]:
        """Signs of a loss, and reasons to look for one."""
        last, self._signs = self._signs, signs
        went_back, reasons = [], []
        if last is None:
            reasons.append("the keeper began its watch")
        elif signs.identity != last.identity:
            reasons.append("the server was restarted or replaced")
            self._steady_since = time.monotonic()
        elif signs.num_evicted > last.num_evicted:
            number = signs.num_evicted - last.num_evicted
            went_back.append(f"the server evicted {number} keys to stay within its maxmemory")
        if signs.mark.number < self._mark.number:
            went_back.append(
                f"its count of changes went back from {self._mark.number} to {signs.mark.number}"
            )
            StoreMark(self._redis).count_on(self._mark.number - signs.mark.number)
        return went_back, reasons

    def _compare_some(self) -> dict[str, Difference]:
        """What was not known to be behind; within a slice of time, all when they are few."""
        found: dict[str, Difference] = {}
        again = tuple(self._behind)[:_BATCH]
        deadline = time.monotonic() + SLICE_SECONDS
        for job_id in again:
            del self._behind[job_id]
        self._behind |= self._behind_among(again)
        while self._to_compare and time.monotonic() < deadline:
            batch = [self._to_compare.popleft() for _ in range(min(_BATCH, len(self._to_compare)))]
            found |= self._behind_among(batch)
        new = {job_id: each for job_id, each in found.items() if job_id not in self._behind}
        self._behind |= found
        return new

    def _behind_among(self, job_ids: Iterable[str]) -> dict[str, Difference]:
        behind = {}
        for job_id, each in self._differences.look(tuple(job_ids)).items():
            if isinstance(each, Compared) and each.difference is not None:
                behind[job_id] = each.difference
            elif isinstance(each, Unreadable) and not each.is_known:
                behind[job_id] = Difference.MISSING
        return behind

    def _mend_some(self, found: dict[str, Difference]) -> list[str]:
        """Adds missing jobs to `found`. Index entries that were mended, for people."""
        known = self._disk.ids()
        self._to_mend = self._to_mend or deque(sorted(known))
        number = min(MAX_MENDED, len(self._to_mend))
        batch = [self._to_mend.popleft() for _ in range(number)]
        mended = []
        missing = []
        for job_id, what in self._store.mend(batch, lease_seconds=self._settings.lease_seconds):
            if what == "missing":
                missing.append(job_id)
            elif what != "model":
                mended.append(f"{job_id}: {what}")
            elif self._bring_model_back(job_id):
                mended.append(f"{job_id}: its model")
        behind = self._behind_among(missing)
        for job_id in set(missing) - behind.keys():
            self._disk.drop(job_id)
        found |= {job_id: each for job_id, each in behind.items() if job_id not in self._behind}
        self._behind |= behind
        return mended

    def _bring_model_back(self, job_id: str) -> bool:
        """False for a model that the caller deleted."""
        compared = self._differences.look((job_id,)).get(job_id)
        if not isinstance(compared, Compared) or compared.disk.record.is_model_deleted:
            return False
        try:
            model = self._store.get(job_id).fine_tuned_model
        except NotFoundError:
            return False
        if model is not None:
            self._store.models.add(model, job_id)
        return model is not None

    def _is_too_soon(self, last_at: float) -> bool:
        """A server that evicts loses something in each round, also by what is restored."""
        is_evicting = self._signs is not None and self._signs.num_evicted > 0
        return is_evicting and time.monotonic() - last_at < PAUSE_SECONDS

    def _report(self, cause: str) -> None:
        found, mended = self._found, self._mended
        self._found, self._mended, self._reported_at = {}, [], time.monotonic()
        num_missing = sum(each is Difference.MISSING for each in found.values())
        loss = Loss(
            noticed_at=time.time(),
            cause=cause,
            num_missing=num_missing,
            num_older=len(found) - num_missing,
            num_mended=len(mended),
            jobs=tuple(found)[:MAX_NAMED],
        )
        named = ", ".join([*loss.jobs, *mended[:MAX_NAMED]])
        logger.critical("%s%s", loss.account, f" ({named})" if named else "")
        self._losses.append(loss)

    def _ask_for_recovery(self, cause: str) -> None:
        """Unless one is under way, or could not bring back what is behind."""
        if not self._behind or self._is_too_soon(self._asked_at):
            return
        last = self._desk.state()
        if last is not None and last.status != "done":
            return
        hopeless = {each.id for each in last.problems} if last is not None else set()
        if self._behind.keys() - hopeless:
            self._desk.request(cause=cause)
            self._asked_at = time.monotonic()

    def _is_ours(self, mark: Mark) -> bool:
        """False for a store that has lost all, or is not the one of this HOME."""
        if mark.store and mark.store == self._mark.store:
            self._is_whole_loss = False
            return True
        known = tuple(self._disk.ids())[:_SAMPLE]
        num_unknown = len(self._store.unknown(known))
        recovery = self._desk.state()
        is_recovered = recovery is not None and recovery.status == "done"
        if num_unknown * 2 <= len(known) or is_recovered:
            self._take_as_ours(mark, is_recovered=is_recovered)
            return True
        if not self._is_whole_loss and recovery is None:
            self._is_whole_loss = True
            self._report_whole(num_unknown)
        return False

    def _take_as_ours(self, mark: Mark, *, is_recovered: bool) -> None:
        store_mark = StoreMark(self._redis)
        store = store_mark.name(self._mark.store or mark.store or None)
        self._mark = self._mark.model_copy(update={"store": store})
        if is_recovered:
            # That loss was reported.
            store_mark.count_on(max(0, self._mark.number - mark.number))
        self._is_whole_loss = False

    def _report_whole(self, num_unknown: int) -> None:
        home = self._settings.home_directories
        logger.critical(
            "THE STORE IS EMPTY, but there are jobs on disk under %s: Redis has lost its data. "
            "Run `flant5 recover` to bring the jobs back.",
            home.jobs,
        )
        loss = Loss(
            noticed_at=time.time(),
            cause="the store knows nearly none of the jobs on disk; `flant5 recover` brings them "
            "back, if FLANT5_REDIS_URL is right",
            is_whole=True,
            num_missing=num_unknown,
        )
        self._losses.append(loss)

    def _keep_mark(self) -> None:
        """On disk, when it has changed."""
        mark = StoreMark(self._redis).read()
        if mark.store == self._mark.store and mark.number >= self._mark.number:
            self._mark = mark
        if self._mark != self._mark_on_disk:
            self._mark_file.write(self._mark)
            self._mark_on_disk = self._mark
