"""Redis or the disk fails in the middle of a round: what the controller found is reported all the
same, once, and the jobs come back."""

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.worker.controller.lost_store import LosableStore
from tests.worker.controller.rolled_back import Snapshot, WatchedStore
from worker.controller import store_watch
from worker.controller.disk_jobs import DiskJobs
from worker.controller.store_mark import StoreMark
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.job import Job, Status
from worker.jobs.storage.store_losses import DataLoss
from worker.jobs.store import keys
from worker.jobs.store.listing import ModelIndex
from worker.jobs.store.recovery import RecoveryRequests
from worker.jobs.store.store import JobStore


@pytest.fixture
def watched(service: LosableStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedStore]:
    monkeypatch.setattr(store_watch, "_BATCH", 2)
    watched = WatchedStore(service)
    yield watched
    watched.watch.close()


class _Fails:
    """A method that fails the `at`th time."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception, *, at: int
    ) -> None:
        self.has_failed = False
        self._left, method = at, getattr(owner, name)

        def act(*args: object, **kwargs: object) -> object:
            self._left -= 1
            if self._left == 0:
                self.has_failed = True
                raise error
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, act)


def _went_back(watched: WatchedStore) -> list[Job]:
    """Seven jobs that the store does not know any more."""
    watched.round()
    snapshot = Snapshot.of(watched.service.redis)
    jobs = [watched.service.create() for _ in range(7)]
    watched.round()
    snapshot.put_back(watched.service.redis)
    return jobs


def _watch_until_reported(watched: WatchedStore) -> DataLoss:
    for _ in range(3):
        try:
            watched.watch.step()
        except StoreUnavailableError:
            continue
        if watched.losses():
            break
    watched.watch.step()
    (loss,) = watched.losses()
    return loss


@pytest.mark.parametrize(
    ("owner", "name", "at"),
    [
        (JobStore, "standings", 1),
        (JobStore, "standings", 3),
        (StoreMark, "count_on", 1),
        (JobStore, "mend", 1),
        (RecoveryRequests, "state", 1),
        (RecoveryRequests, "request", 1),
    ],
)
def test_a_loss_is_reported_whole_though_redis_fails_in_the_round_that_finds_it(
    watched: WatchedStore, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, at: int
) -> None:
    jobs = _went_back(watched)
    fails = _Fails(monkeypatch, owner, name, StoreUnavailableError("gone"), at=at)
    loss = _watch_until_reported(watched)
    assert fails.has_failed
    assert "went back from" in loss.cause
    assert set(loss.jobs) == {job.id for job in jobs}
    assert (loss.num_missing, loss.num_older) == (7, 0)
    recovery = watched.recovered()
    assert {each.id for each in recovery.restored} == {job.id for job in jobs}
    assert watched.losses() == [loss]


@pytest.mark.parametrize("name", ["ids", "newest_first"])
def test_a_loss_is_reported_though_the_list_of_jobs_on_disk_can_t_be_read_at_first(
    watched: WatchedStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    jobs = _went_back(watched)
    fails = _Fails(monkeypatch, DiskJobs, name, OSError("input/output error"), at=1)
    loss = _watch_until_reported(watched)
    assert fails.has_failed
    assert ("went back from" in loss.cause, loss.num_missing) == (True, len(jobs))


def test_an_index_entry_that_was_mended_is_reported_though_redis_fails_after_it(
    watched: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = watched.service
    done = service.workshop.run(service.queued().id)
    watched.round()
    service.redis.zrem(keys.JOBS, done.id)
    service.redis.delete(keys.MODELS)
    fails = _Fails(monkeypatch, ModelIndex, "add", StoreUnavailableError("gone"), at=1)
    assert _watch_until_reported(watched).num_mended == 2
    assert fails.has_failed
    assert service.store.models.all() == {done.fine_tuned_model: done.id}


def test_a_mark_that_can_t_be_written_keeps_no_loss_from_its_report_and_its_recovery(
    watched: WatchedStore,
) -> None:
    watched.round()
    mark = watched.service.workshop.settings.home_directories.store_mark
    mark.unlink()
    mark.mkdir()  # nobody can write there, root neither
    jobs = _went_back(watched)
    loss = watched.noticed()
    assert set(loss.jobs) == {job.id for job in jobs}
    watched.recovered()
    assert watched.service.store.unknown([job.id for job in jobs]) == ()


def test_a_loss_that_can_t_be_written_yet_is_mended_and_reported_when_there_is_room(
    watched: WatchedStore, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = _went_back(watched)
    losses = watched.service.workshop.settings.home_directories.losses
    losses.mkdir()  # nobody can write there, root neither
    with caplog.at_level(logging.ERROR):
        recovery = watched.recovered()
    assert {each.id for each in recovery.restored} == {job.id for job in jobs}
    assert [each.levelname for each in caplog.records].count("CRITICAL") == 1
    assert "cannot write the loss to disk" in caplog.text
    losses.rmdir()
    loss = watched.noticed()
    assert set(loss.jobs) == {job.id for job in jobs}
    assert "went back from" in loss.cause
    assert recovery.finished_at is not None
    assert loss.noticed_at <= recovery.finished_at


def test_an_empty_store_is_reported_though_the_disk_fails_at_first(watched: WatchedStore) -> None:
    for _ in range(3):
        watched.service.create()
    watched.round()
    watched.service.lose_the_store()
    losses = watched.service.workshop.settings.home_directories.losses
    losses.mkdir()
    watched.round()
    losses.rmdir()
    assert watched.noticed().is_whole


def _unreadable_log(watched: WatchedStore, job: Job) -> Callable[[], None]:
    """A history that can't be read again; how to put that right."""
    progress = watched.service.workshop.run_directory(job.id).progress
    hidden = progress.with_name("hidden")
    progress.rename(hidden)
    progress.mkdir()

    def mend() -> None:
        progress.rmdir()
        hidden.rename(progress)

    return mend


def test_a_job_that_came_back_with_a_problem_is_asked_for_again_when_it_is_lost_again(
    watched: WatchedStore,
) -> None:
    service = watched.service
    service.create()
    job = service.workshop.run(service.queued().id)
    watched.round()
    mend = _unreadable_log(watched, job)
    service.redis.delete(*service.redis.scan_iter(f"*{job.id}*"))
    watched.noticed()
    first = watched.recovered()
    assert [each.id for each in first.problems] == [job.id]
    assert [each.id for each in first.restored] == [job.id]
    for _ in range(5):
        watched.round()
    assert service.desk.state() == first, "it is not asked for in each round"
    mend()
    service.redis.delete(*service.redis.scan_iter(f"*{job.id}*"))
    watched.round()
    second = watched.recovered()
    assert (second.requested_at > first.requested_at, second.problems) == (True, ())
    assert service.store.get(job.id).status is Status.SUCCEEDED
