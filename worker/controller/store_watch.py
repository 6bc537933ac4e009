"""Detects data loss in the store, reports it, and requests a recovery.

Each round, at a bounded cost:

    signs of the server -> a reason to compare all jobs on disk with the store, newest first
    a portion of all jobs in turn -> missing jobs, missing or stale index entries
    findings -> log, losses.jsonl (API, dashboard, doctor, metrics), a recovery

Findings are kept until they are reported, even if a step fails in between.

A store that has almost none of the jobs on disk is empty or the wrong one. Jobs are restored into
it only on request (`flant5 recover`).
"""

import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice

from redis import Redis

from worker.controller.comparison import Compared, Differences, StoreDifference, Unreadable
from worker.controller.disk_jobs import DiskJobs, NewestFirst
from worker.controller.store_mark import Mark, MarkFile, ServerSigns, StoreMark, read_signs
from worker.jobs.errors import NotFoundError
from worker.jobs.storage.lock import LockedError, take_lock
from worker.jobs.storage.store_losses import MAX_NAMED, DataLoss, DataLossLog
from worker.jobs.store.recovery import Recovery, RecoveryRequests
from worker.jobs.store.store import JobStore
from worker.settings import WorkerSettings

SLICE_SECONDS = 0.25
"""Seconds per round spent on the comparison of all jobs."""
MAX_MENDED = 100
"""Jobs whose index entries are checked per round, in turn."""
PAUSE_SECONDS = 60.0
"""Seconds between two reports, and between two recoveries, for a server that evicts keys."""
_BATCH = 25
_SAMPLE = 200
"""Jobs on disk used to distinguish a store that lost its name from an empty one."""

logger = logging.getLogger(__name__)


class StoreWatch:
    """Watches the store. Only one controller of a HOME does so at a time; others are no-ops."""

    def __init__(
        self, store: JobStore, redis: Redis, desk: RecoveryRequests, settings: WorkerSettings
    ) -> None:
        home = settings.home_directories
        self._store, self._redis, self._desk, self._settings = store, redis, desk, settings
        self._differences = Differences(store, home)
        self._disk = DiskJobs(home)
        self._mark_file = MarkFile(home.store_mark)
        self._losses = DataLossLog(home.losses)
        self._lock_file = home.workers / "store_watch.lock"
        self._lock: int | None = None
        self._signs: ServerSigns | None = None
        self._mark = self._mark_on_disk = Mark()
        self._ordering: NewestFirst | None = None
        """All jobs while they are being ordered. They are compared after that."""
        self._is_due_again = False
        self._to_compare: deque[str] = deque()
        self._to_mend: deque[str] = deque()
        self._behind: dict[str, StoreDifference] = {}
        """Jobs that are behind the disk and not yet restored."""
        self._asked: set[str] = set()
        """Jobs in `_behind` with a requested recovery that were not yet seen to be restored."""
        self._why = ""
        """Reason for the comparison of all jobs while it is running."""
        self._signs_of_loss: dict[str, str] = {}
        self._num_evicted = 0
        self._found: dict[str, StoreDifference] = {}
        self._mended: list[str] = []
        """Index entries repaired and not yet reported."""
        self._noticed_at = 0.0
        """Time of the latest finding."""
        self._logged = ""
        """The report that was logged but is not yet on disk."""
        self._is_whole_loss = False
        self._steady_since = self._reported_at = self._asked_at = -math.inf

    @property
    def steady_seconds(self) -> float:
        """Seconds since the server was last seen to change, infinite if it never changed."""
        return time.monotonic() - self._steady_since

    def step(self) -> None:
        """Runs one round. Raises StoreUnavailableError; the next call continues there."""
        if not self._is_mine():
            return
        try:
            self._look()
        except (OSError, ValueError) as error:
            logger.error("store: cannot compare it with the disk: %s", error)

    def close(self) -> None:
        """Releases the lock for another controller."""
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
                logger.error("store: cannot watch it for data loss: %s", error)
                return False
            self._mark = self._mark_on_disk = self._read_mark()
        return True

    def _read_mark(self) -> Mark:
        try:
            return self._mark_file.read()
        except (OSError, ValueError) as error:
            logger.error("store: cannot read its last mark; writing a new one: %s", error)
            return Mark()

    def _look(self) -> None:
        if not self._is_ours(StoreMark(self._redis).read()):
            self._signs = self._ordering = None
            return
        try:
            self._compare_with_last(read_signs(self._redis))
            self._order_some()
            self._compare_some()
            self._mend_some()
        except (OSError, ValueError) as error:
            logger.error("store: cannot compare it with the disk: %s", error)
        cause = self._cause()
        self._report(cause)
        self._ask_for_recovery(cause)
        if not (self._ordering or self._to_compare or self._found):
            self._why = ""
        self._keep_mark()

    def _cause(self) -> str:
        signs = "; ".join(self._signs_of_loss.values())
        return signs or self._why or "found in the periodic comparison with the jobs on disk"

    def _compare_with_last(self, signs: ServerSigns) -> None:
        """Starts a comparison of all jobs if the signs give a reason to."""
        last, num_evicted = self._signs, self._num_evicted
        found, reason = {}, ""
        if last is None:
            reason = "the controller was started"
        elif signs.identity != last.identity:
            reason = "the server was restarted or replaced"
            self._steady_since = time.monotonic()
        elif signs.num_evicted > last.num_evicted:
            num_evicted += signs.num_evicted - last.num_evicted
            found["evicted"] = f"the server evicted {num_evicted} keys to stay below its maxmemory"
        num_lost = self._mark.number - signs.mark.number
        if num_lost > 0:
            found["count"] = (
                f"its change counter went back from {self._mark.number} to {signs.mark.number}"
            )
        if found or reason:
            # A running comparison continues: under constant evictions, none would ever finish.
            self._is_due_again = self._ordering is not None
            self._ordering = self._ordering or self._disk.newest_first()
            self._why = "; ".join(found.values()) or reason
        self._signs, self._num_evicted = signs, num_evicted
        if found:
            self._signs_of_loss |= found
            self._noticed_at = time.time()
        if num_lost > 0:
            # Last, because it removes the evidence of the rollback from the store.
            StoreMark(self._redis).count_on(num_lost)

    def _order_some(self) -> None:
        if self._ordering is None:
            if not self._is_due_again:
                return
            self._ordering, self._is_due_again = self._disk.newest_first(), False
        ordered = self._ordering.step()
        if ordered is not None:
            self._ordering, self._to_compare = None, deque(ordered)

    def _compare_some(self) -> None:
        """Compares jobs for one time slice."""
        deadline = time.monotonic() + SLICE_SECONDS
        again = tuple(self._behind)[:_BATCH]
        still = self._behind_among(again)
        for job_id in again:
            del self._behind[job_id]
        self._behind |= still
        self._asked -= {*again} - still.keys()
        while self._to_compare and time.monotonic() < deadline:
            batch = tuple(islice(self._to_compare, _BATCH))
            self._note(self._behind_among(batch))
            for _ in batch:
                self._to_compare.popleft()

    def _note(self, behind: dict[str, StoreDifference]) -> None:
        """Adds jobs to `_behind`, and new ones to the findings to report."""
        new = {job_id: each for job_id, each in behind.items() if job_id not in self._behind}
        self._behind |= behind
        if new:
            self._found |= new
            self._noticed_at = time.time()

    def _behind_among(self, job_ids: Iterable[str]) -> dict[str, StoreDifference]:
        behind = {}
        for job_id, each in self._differences.look(tuple(job_ids)).items():
            if isinstance(each, Compared) and each.difference is not None:
                behind[job_id] = each.difference
            elif isinstance(each, Unreadable) and not each.is_known:
                behind[job_id] = StoreDifference.MISSING
        return behind

    def _mend_some(self) -> None:
        """Checks jobs in turn: notes missing jobs and repairs their index entries."""
        self._to_mend = self._to_mend or deque(sorted(self._disk.ids()))
        batch = tuple(islice(self._to_mend, MAX_MENDED))
        seen = self._store.mend(batch, lease_seconds=self._settings.lease_seconds)
        # Repaired entries first: a second try would not find them again.
        for job_id, what in seen:
            if what not in ("missing", "model"):
                self._note_mended(f"{job_id}: {what}")
        for job_id, what in seen:
            if what == "model" and self._bring_model_back(job_id):
                self._note_mended(f"{job_id}: its model")
        missing = [job_id for job_id, what in seen if what == "missing"]
        behind = self._behind_among(missing)
        self._note(behind)
        for job_id in set(missing) - behind.keys():
            self._disk.drop(job_id)
        for _ in batch:
            self._to_mend.popleft()

    def _note_mended(self, entry: str) -> None:
        self._mended.append(entry)
        self._noticed_at = time.time()

    def _bring_model_back(self, job_id: str) -> bool:
        """Restores a model entry. Returns False if the caller deleted the model."""
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
        """Returns True within the pause of a server that evicts keys.

        Such a server loses data in each round, partly because of restored data.
        """
        is_evicting = self._signs is not None and self._signs.num_evicted > 0
        return is_evicting and time.monotonic() - last_at < PAUSE_SECONDS

    def _report(self, cause: str) -> None:
        """Reports the findings since the last report, if any.

        A failing disk is logged, and a later round writes the report.
        """
        found, mended = self._found, self._mended
        if not (self._signs_of_loss or found or mended) or self._is_too_soon(self._reported_at):
            return
        num_missing = sum(each is StoreDifference.MISSING for each in found.values())
        loss = DataLoss(
            noticed_at=self._noticed_at,
            cause=cause,
            num_missing=num_missing,
            num_older=len(found) - num_missing,
            num_mended=len(mended),
            jobs=tuple(found)[:MAX_NAMED],
        )
        named = ", ".join([*loss.jobs, *mended[:MAX_NAMED]])
        try:
            self._keep(loss, f"{loss.account} ({named})" if named else loss.account)
        except OSError as error:
            logger.error("store: cannot write the loss to disk; retrying: %s", error)
            return
        self._found, self._mended, self._reported_at = {}, [], time.monotonic()
        self._signs_of_loss, self._num_evicted = {}, 0

    def _keep(self, loss: DataLoss, account: str) -> None:
        """Logs the loss once and appends it to the file on disk. Raises OSError."""
        if account != self._logged:
            logger.critical("%s", account)
            self._logged = account
        self._losses.append(loss)
        self._logged = ""

    def _ask_for_recovery(self, cause: str) -> None:
        """Requests a recovery, unless one is running or the last one failed for the same jobs."""
        if not self._behind or self._is_too_soon(self._asked_at):
            return
        last = self._desk.state()
        if last is not None and last.status != "done":
            return
        if self._behind.keys() - self._hopeless(last):
            self._desk.request(cause=cause)
            self._asked, self._asked_at = set(self._behind), time.monotonic()

    def _hopeless(self, last: Recovery | None) -> set[str]:
        """Returns jobs that the last recovery restored incompletely or not at all.

        Without the former, a job with an unreadable file would trigger a recovery in each round.
        """
        if last is None:
            return set()
        back = {each.id for each in last.restored}
        back -= {
            job_id
            for job_id in self._asked
            if self._behind.get(job_id) not in (None, StoreDifference.MISSING)
        }
        return {each.id for each in last.problems} - back

    def _is_ours(self, mark: Mark) -> bool:
        """Returns False for a store that lost everything or belongs to another HOME."""
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
            self._report_whole(num_unknown)
            self._is_whole_loss = True
        return False

    def _take_as_ours(self, mark: Mark, *, is_recovered: bool) -> None:
        store_mark = StoreMark(self._redis)
        if is_recovered:
            # That loss was reported. Set before the name, which marks the store as ours.
            store_mark.count_on(max(0, self._mark.number - mark.number))
        store = store_mark.name(self._mark.store or mark.store or None)
        self._mark = self._mark.model_copy(update={"store": store})
        self._is_whole_loss = False

    def _report_whole(self, num_unknown: int) -> None:
        home = self._settings.home_directories
        loss = DataLoss(
            noticed_at=time.time(),
            cause="the store has almost none of the jobs on disk; check FLANT5_REDIS_URL, then run "
            "`flant5 recover` to restore them",
            is_whole=True,
            num_missing=num_unknown,
        )
        self._keep(
            loss,
            f"THE STORE IS EMPTY, but there are jobs on disk under {home.jobs}: Redis has lost its "
            "data. Run `flant5 recover` to restore the jobs.",
        )

    def _keep_mark(self) -> None:
        """Writes the mark to disk if it has changed."""
        mark = StoreMark(self._redis).read()
        if mark.store == self._mark.store and mark.number >= self._mark.number:
            self._mark = mark
        if self._mark != self._mark_on_disk:
            self._mark_file.write(self._mark)
            self._mark_on_disk = self._mark
