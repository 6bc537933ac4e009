"""Of many jobs on disk a round looks at some: the controller shows that it is alive in between."""

import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.worker.controller.lost_store import LosableStore
from tests.worker.controller.rolled_back import WatchedStore
from worker.controller import disk_jobs, recovery
from worker.controller.disk_jobs import DiskJobs
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.storage.paths import Home

Names = list[str]


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_jobs, "SLICE_SECONDS", 0.0)


@pytest.fixture
def names(tmp_path: Path) -> Names:
    """Of ten jobs, oldest first, and of a directory without a record."""
    home = Home(tmp_path)
    names = [f"ftjob-{number}" for number in range(10)]
    for number, name in enumerate(names):
        record = home.run_directory(name).job_record
        record.parent.mkdir(parents=True)
        record.touch()
        os.utime(record.parent, (1e9 + number,) * 2)
    home.run_directory("ftjob-empty").path.mkdir()
    return names


def test_new_directories_are_looked_at_in_turn(names: Names, tmp_path: Path) -> None:
    disk = DiskJobs(Home(tmp_path))
    seen = [disk.ids() for _ in range(11)]
    assert all(len(after - before) <= 1 for before, after in pairwise(seen))
    assert (len(seen[0]) <= 1, seen[-1]) == (True, frozenset(names))
    # One that gets its record later, and one that comes later, have their turns.
    Home(tmp_path).run_directory("ftjob-empty").job_record.touch()
    Home(tmp_path).run_directory("ftjob-new").path.mkdir()
    Home(tmp_path).run_directory("ftjob-new").job_record.touch()
    assert {*disk.ids(), *disk.ids()} == {*names, "ftjob-empty", "ftjob-new"}


def test_jobs_are_ordered_in_slices(names: Names, tmp_path: Path) -> None:
    ordering = DiskJobs(Home(tmp_path)).newest_first()
    slices = [ordering.step() for _ in range(11)]
    assert slices[:-1] == [None] * 10
    assert [each for each in slices[-1] or () if each != "ftjob-empty"] == names[::-1]


def test_a_loss_is_found_though_the_order_takes_several_rounds(
    service: LosableStore,
) -> None:
    jobs = [service.create() for _ in range(5)]
    watched = WatchedStore(service)
    for _ in range(10):
        watched.round()
    done = service.workshop.run(service.queued().id)
    events = f"flant5:job:{done.id}:events"
    assert service.redis.exists(events), "older, which only the comparison finds"
    service.redis.delete(events)
    watched.watch.close()
    again = WatchedStore(service)
    for _ in range(len(jobs)):
        again.watch.step()
        assert again.losses() == []
    assert again.noticed().jobs == (done.id,)
    assert again.losses()[0].cause == "the controller was started"
    again.watch.close()


def test_a_recovery_lists_the_jobs_in_slices(
    service: LosableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [service.create() for _ in range(4)]
    slow = threading.Event()
    job_ids = JobRecordStore.job_ids

    def slowly(job_records: JobRecordStore) -> Iterator[str]:
        for job_id in job_ids(job_records):
            slow.wait(0.02)  # the disk
            yield job_id

    monkeypatch.setattr(JobRecordStore, "job_ids", slowly)
    monkeypatch.setattr(recovery, "_BATCH", 1)
    monkeypatch.setattr(recovery, "SLICE_SECONDS", 0.01)
    service.lose_the_store()
    service.desk.request()
    found = [0]
    while found[-1] < len(jobs):
        service.recoverer.step()
        state = service.desk.state()
        assert state is not None
        found.append(state.num_found)
    assert all(after - before <= 1 for before, after in pairwise(found))
    assert {each.id for each in service.recover().restored} == {job.id for job in jobs}
