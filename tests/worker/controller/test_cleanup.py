"""What the policy lets go is removed, as a whole, and nothing else is touched."""

import os
import shutil
from pathlib import Path

import pytest
from redis import Redis

from tests.worker.controller.attic import AGE_DAYS, ALL_FILES, OUTCOMES, Attic, cache_entry
from tests.worker.scenes import claimed_job, queued_job, spec
from worker.controller.retention import DAY_SECONDS
from worker.jobs.job import Status, model_id
from worker.jobs.storage.files import FileStore
from worker.jobs.storage.lock import take_lock
from worker.jobs.storage.upload import AnnouncedFile, UploadDirectory
from worker.jobs.storage.uploads import UploadLimits, UploadStore
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.models import ModelCatalog


def test_the_parts_of_an_upload_that_ended_go_without_a_policy(attic: Attic) -> None:
    home = attic.settings().home_directories
    limits = UploadLimits(max_bytes=9, seconds=60)
    store = UploadStore(home, FileStore(home, None), limits)
    announced = AnnouncedFile(filename="a", purpose="fine-tune", mime_type="a", num_bytes=1)
    uploads = [store.create(announced, owner="") for _ in range(2)]
    for upload in uploads:
        store.add_part(upload.id, owner="", chunks=[b"x"])
    expired = UploadDirectory(home.uploads / uploads[0].id)
    expired.write(uploads[0].model_copy(update={"expires_at": uploads[0].created_at}))
    attic.clean()
    assert [len(store.parts(upload.id, owner="")) for upload in uploads] == [0, 1]


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
    assert not attic.store.deleted.delete_old(job, min_age_seconds=1)
    assert not attic.store.deleted.delete_checkpoints(job.id, min_age_seconds=1, reason="old")
    assert attic.store.get(job.id).status is Status.QUEUED


def test_the_servers_clock_decides_how_old_a_job_is(attic: Attic) -> None:
    job = attic.ended(Status.CANCELLED)
    assert not attic.store.deleted.delete_old(job, min_age_seconds=(AGE_DAYS + 1) * DAY_SECONDS)
    assert attic.store.deleted.delete_old(job, min_age_seconds=(AGE_DAYS - 1) * DAY_SECONDS)


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


def test_a_controller_that_is_killed_after_the_record_is_gone_is_finished_by_the_next(
    attic: Attic, redis: Redis
) -> None:
    job = attic.ended(Status.FAILED)
    assert attic.store.deleted.delete_old(job, min_age_seconds=1)
    assert attic.names(job) == ALL_FILES
    attic.clean()
    assert not attic.files(job).path.exists()
    assert redis.smembers(keys.FORGOTTEN) == set()


@pytest.mark.parametrize("left", ["checkpoint-4", "removed-checkpoint-4"])
def test_half_deleted_checkpoints_are_finished_off(
    attic: Attic, history: JobHistory, left: str
) -> None:
    job = attic.ended(Status.SUCCEEDED)
    assert attic.store.deleted.delete_checkpoints(job.id, min_age_seconds=1, reason="old")
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

    monkeypatch.setattr("worker.jobs.storage.job_files.shutil.rmtree", fails_for_one)
    attic.clean(keep_jobs_days=1)
    assert not attic.files(other).path.exists()
    assert attic.files(stuck).path.exists()
    assert "cleanup is incomplete" in caplog.text
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
    assert attic.store.deleted.delete_old(first, min_age_seconds=0)
    second = attic.store.create(spec(), submission_key="key")
    assert second.id != first.id
    assert attic.store.create(spec(), submission_key="key").id == second.id
