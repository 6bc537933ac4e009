"""What the policy lets go is removed, as a whole, and nothing else is touched."""

import os
import shutil
import time
from pathlib import Path

import pytest
from redis import Redis

from tests.worker.scenes import claimed_job, queued_job, spec
from worker.cache_cleanup import remove_unused
from worker.cleanup import DAY_SECONDS, Cleanup
from worker.jobs import keys
from worker.jobs.errors import NotFoundError
from worker.jobs.history import JobHistory
from worker.jobs.home import RunDirectory
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.ledger import Ledger
from worker.jobs.life import Status
from worker.jobs.models import ModelCatalog
from worker.jobs.store import JobStore
from worker.jobs.update import Cancelled, Failed, NewCheckpoint, Outcome, Succeeded, Update
from worker.lock import take_lock
from worker.settings import WorkerSettings

OUTCOMES = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
AGE_DAYS = 10


class Attic:
    """Jobs that ended ten days ago, with their files."""

    def __init__(self, store: JobStore, redis: Redis, home: Path) -> None:
        self.store = store
        self.redis = redis
        self.home = home

    def settings(self, **days: float) -> WorkerSettings:
        return WorkerSettings.model_validate({"home": self.home, "worker_name": "gpu-0"} | days)

    def clean(self, **days: float) -> None:
        """All portions of one cleanup."""
        cleanup = Cleanup(self.store, self.settings(**days))
        for _ in range(100):
            cleanup.step()

    def ended(self, status: Status, *, suffix: str | None = None) -> Job:
        claim = claimed_job(self.store, suffix=suffix)
        job = claim.job
        checkpoint = NewCheckpoint(step=4, path="output/checkpoint-4", metrics={})
        self.store.leases.record(claim, Update(checkpoints=(checkpoint,)))
        outcomes: dict[Status, Outcome] = {
            Status.SUCCEEDED: Succeeded(model_id(job.id, job.spec)),
            Status.FAILED: Failed(JobError(code="internal", message="no")),
            Status.CANCELLED: Cancelled(),
        }
        assert self.store.leases.finish(claim, outcomes[status])
        self.write_files(job)
        finished_at = time.time() - AGE_DAYS * DAY_SECONDS
        self.redis.hset(keys.job(job.id), "finished_at", str(int(finished_at * 1000)))
        return self.store.get(job.id)

    def write_files(self, job: Job) -> None:
        Ledger(self.settings().home_directories).write(job)
        files = self.files(job)
        for directory in (files.output, files.output / "checkpoint-4"):
            directory.mkdir(exist_ok=True)
            (directory / "config.json").write_text("{}")
        files.log.write_text("a line\n")
        files.result.write_text("{}")

    def files(self, job: Job) -> RunDirectory:
        return self.settings().home_directories.run_directory(job.id)

    def names(self, job: Job) -> set[str]:
        """All files of the job but its lock."""
        path = self.files(job).path
        names = {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()}
        return names - {"lock"}

    def is_known(self, job: Job) -> bool:
        try:
            self.store.get(job.id)
        except NotFoundError:
            return False
        return True


@pytest.fixture
def attic(store: JobStore, redis: Redis, tmp_path: Path) -> Attic:
    return Attic(store, redis, tmp_path / "home")


ALL_FILES = {
    *("job.json", "train.log", "result.json"),
    *("output/config.json", "output/checkpoint-4/config.json"),
}


def test_without_a_policy_everything_is_kept(attic: Attic, tmp_path: Path) -> None:
    jobs = [attic.ended(status) for status in OUTCOMES]
    entry = cache_entry(attic.home / "cache" / "old", days=100)
    attic.clean()
    assert all(attic.names(job) == ALL_FILES for job in jobs)
    assert entry.is_dir()


@pytest.mark.parametrize("status", OUTCOMES)
def test_checkpoints_of_a_job_that_ended_long_ago_go_and_all_else_stays(
    attic: Attic, history: JobHistory, status: Status
) -> None:
    job = attic.ended(status)
    attic.clean(keep_checkpoints_days=AGE_DAYS - 1)
    assert attic.names(job) == ALL_FILES - {"output/checkpoint-4/config.json"}
    assert history.checkpoints(job.id).items == ()
    last = history.events(job.id).items[0]
    assert last.message == "Checkpoints removed: the job ended more than 9 days ago"
    assert attic.store.get(job.id) == job
    attic.clean(keep_checkpoints_days=AGE_DAYS - 1)
    assert history.events(job.id).items[0] == last


def test_checkpoints_of_younger_jobs_stay(attic: Attic) -> None:
    job = attic.ended(Status.FAILED)
    attic.clean(keep_checkpoints_days=AGE_DAYS + 1, keep_jobs_days=AGE_DAYS + 1)
    assert attic.names(job) == ALL_FILES


def test_failed_and_cancelled_jobs_go_as_a_whole_and_succeeded_ones_never(
    attic: Attic, redis: Redis
) -> None:
    succeeded, failed, cancelled = (attic.ended(status) for status in OUTCOMES)
    attic.clean(keep_jobs_days=AGE_DAYS - 1)
    assert attic.names(succeeded) == ALL_FILES
    assert [job.id for job in attic.store.list(after=None, limit=9).items] == [succeeded.id]
    for job in (failed, cancelled):
        assert not attic.is_known(job)
        assert not attic.files(job).path.exists()
        assert not list(redis.scan_iter(f"*{job.id}*"))
    assert redis.smembers(keys.FORGOTTEN) == set()
    assert redis.hgetall(keys.NAMES) == {model_id(succeeded.id, succeeded.spec): succeeded.id}


def test_a_job_that_waits_runs_or_is_paused_is_never_touched(attic: Attic) -> None:
    resumed = attic.ended(Status.FAILED)
    attic.store.resume(resumed.id)
    attic.store.pause(resumed.id)
    running = claimed_job(attic.store).job
    jobs = [resumed, running, queued_job(attic.store), attic.store.create(spec())]
    for job in jobs:
        attic.write_files(job)
        # As if a clock had gone wrong: the status counts.
        attic.redis.hset(keys.job(job.id), "finished_at", "1")
    attic.clean(keep_jobs_days=1, keep_checkpoints_days=1)
    for job in jobs:
        assert attic.is_known(job)
        assert attic.names(job) == ALL_FILES


def test_a_job_that_was_resumed_after_it_was_looked_at_is_not_removed(attic: Attic) -> None:
    job = attic.ended(Status.CANCELLED)
    attic.store.resume(job.id)
    assert not attic.store.ended.forget(job, min_age_seconds=1)
    assert not attic.store.ended.forget_checkpoints(job.id, min_age_seconds=1, reason="old")
    assert attic.store.get(job.id).status is Status.QUEUED


def test_the_servers_clock_decides_how_old_a_job_is(attic: Attic) -> None:
    job = attic.ended(Status.CANCELLED)
    assert not attic.store.ended.forget(job, min_age_seconds=(AGE_DAYS + 1) * DAY_SECONDS)
    assert attic.store.ended.forget(job, min_age_seconds=(AGE_DAYS - 1) * DAY_SECONDS)


def test_nothing_is_removed_while_a_process_of_an_attempt_is_alive(attic: Attic) -> None:
    old, older = attic.ended(Status.FAILED), attic.ended(Status.SUCCEEDED)
    locks = [take_lock(attic.files(job).lock, patience_seconds=0) for job in (old, older)]
    attic.clean(keep_jobs_days=1, keep_checkpoints_days=1)
    for job, lock in zip((old, older), locks, strict=True):
        assert attic.is_known(job)
        assert attic.names(job) == ALL_FILES
        os.close(lock)
    attic.clean(keep_jobs_days=1, keep_checkpoints_days=1)
    assert not attic.is_known(old)
    assert attic.names(older) == ALL_FILES - {"output/checkpoint-4/config.json"}


def test_what_an_unfinished_job_starts_from_stays(attic: Attic) -> None:
    base = attic.ended(Status.CANCELLED, suffix="base")
    model = model_id(base.id, base.spec, step=4)
    user = queued_job(attic.store, model=model)
    attic.clean(keep_jobs_days=1, keep_checkpoints_days=1)
    assert attic.names(base) == ALL_FILES
    catalog = ModelCatalog(attic.settings(), attic.store)
    assert catalog.resolve(model) == str(attic.files(base).output / "checkpoint-4")
    attic.store.cancel(user.id)
    attic.clean(keep_jobs_days=1, keep_checkpoints_days=1)
    assert not attic.is_known(base)


def test_a_keeper_that_is_killed_after_the_record_is_gone_is_finished_by_the_next(
    attic: Attic, redis: Redis
) -> None:
    job = attic.ended(Status.FAILED)
    assert attic.store.ended.forget(job, min_age_seconds=1)
    assert attic.names(job) == ALL_FILES
    attic.clean()
    assert not attic.files(job).path.exists()
    assert redis.smembers(keys.FORGOTTEN) == set()


@pytest.mark.parametrize("left", ["checkpoint-4", "removed-checkpoint-4"])
def test_half_deleted_checkpoints_are_finished_off(
    attic: Attic, history: JobHistory, left: str
) -> None:
    job = attic.ended(Status.SUCCEEDED)
    assert attic.store.ended.forget_checkpoints(job.id, min_age_seconds=1, reason="old")
    (attic.files(job).output / "checkpoint-4").rename(attic.files(job).output / left)
    last = history.events(job.id).items[0]
    attic.clean(keep_checkpoints_days=1)
    assert attic.names(job) == ALL_FILES - {"output/checkpoint-4/config.json"}
    assert history.events(job.id).items[0] == last


def test_files_that_cant_be_removed_are_tried_again(
    attic: Attic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, other = attic.ended(Status.FAILED), attic.ended(Status.FAILED)
    remove = shutil.rmtree

    def fails_for_one(path: Path) -> None:
        if path == attic.files(stuck).path:
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr("worker.cleanup.shutil.rmtree", fails_for_one)
    attic.clean(keep_jobs_days=1)
    assert not attic.files(other).path.exists()
    assert attic.files(stuck).path.exists()
    assert "not cleaned up as a whole" in caplog.text
    monkeypatch.undo()
    attic.clean(keep_jobs_days=1)
    assert not attic.files(stuck).path.exists()


def test_a_job_that_was_restored_while_its_files_were_to_go_is_kept(attic: Attic) -> None:
    job = attic.ended(Status.FAILED)
    attic.redis.sadd(keys.FORGOTTEN, job.id)
    attic.clean()
    assert attic.names(job) == ALL_FILES
    assert attic.redis.smembers(keys.FORGOTTEN) == set()


def test_a_submission_whose_job_was_cleaned_up_makes_a_new_one(attic: Attic) -> None:
    first = attic.store.create(spec(), submission_key="key")
    attic.store.cancel(first.id)
    assert attic.store.ended.forget(first, min_age_seconds=0)
    second = attic.store.create(spec(), submission_key="key")
    assert second.id != first.id
    assert attic.store.create(spec(), submission_key="key").id == second.id


def cache_entry(entry: Path, *, days: float) -> Path:
    entry.mkdir(parents=True)
    (entry / "tokens.bin").write_bytes(b"12")
    (entry / "manifest.json").write_text("{}")
    used_at = time.time() - days * DAY_SECONDS
    os.utime(entry / "manifest.json", (used_at, used_at))
    return entry


def test_encoded_conversations_that_nobody_used_go(attic: Attic) -> None:
    cache = attic.home / "cache"
    old, young = cache_entry(cache / "old", days=3), cache_entry(cache / "young", days=1)
    attic.clean(keep_cache_days=2)
    assert not old.exists()
    assert young.is_dir()


def test_an_entry_that_is_being_written_stays(attic: Attic) -> None:
    entry = cache_entry(attic.home / "cache" / "old", days=3)
    lock = take_lock(entry.with_name("old.lock"), patience_seconds=0)
    attic.clean(keep_cache_days=2)
    assert entry.is_dir()
    os.close(lock)
    attic.clean(keep_cache_days=2)
    assert not entry.exists()


def test_what_was_left_by_who_was_killed_while_writing_goes(tmp_path: Path) -> None:
    entry = tmp_path / "half"
    entry.mkdir()
    (entry / "tokens.bin").write_bytes(b"12")
    list(remove_unused(tmp_path, seconds=60))
    assert entry.is_dir()
    os.utime(entry, (1, 1))
    list(remove_unused(tmp_path, seconds=60))
    assert not entry.exists()
