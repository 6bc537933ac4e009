"""A deletion that was broken off is finished; what was deleted stays so, whatever the store has
lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

import pytest
from redis import Redis

from tests.worker.controller.attic import ALL_FILES, OUTCOMES, Attic
from tests.worker.scenes import claim_again, queued_job
from worker.jobs.deletion import Deletions
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job, Status, model_id
from worker.jobs.storage.lock import take_lock
from worker.jobs.storage.tombstones import KEEP_DAYS, Tombstones
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def deletions(attic: Attic) -> Deletions:
    return Deletions(attic.store, attic.settings().home_directories, lock_seconds=0)


def tombstones(attic: Attic) -> Tombstones:
    return Tombstones(attic.settings().home_directories)


_ENDED, _DELETION = "worker.jobs.store.listing:DeletedJobs", "worker.jobs.deletion:"
_LEDGER, _WRITE = (
    "worker.jobs.storage.job_record:JobRecordStore",
    "worker.jobs.storage.tombstones:Tombstones.write",
)
STEPS = {
    "job": (
        f"{_ENDED}.delete",
        _WRITE,
        f"{_LEDGER}.delete",
        "worker.jobs.storage.job_files:remove",
        f"{_ENDED}.mark_files_deleted",
    ),
    "model": (
        f"{_ENDED}.delete_model",
        _WRITE,
        f"{_LEDGER}.mark_model_deleted",
        f"{_DELETION}remove",
        f"{_ENDED}.mark_files_deleted",
    ),
    "checkpoint": (
        f"{_ENDED}.claim_checkpoint",
        f"{_DELETION}sync_directory",
        f"{_ENDED}.delete_checkpoint",
        "worker.jobs.storage.job_files:shutil.rmtree",
        f"{_ENDED}.mark_files_deleted",
    ),
}
"""What a deletion does, one after the other."""


def kill_at(step: str, action: Callable[[], object], *, is_done: bool) -> None:
    """Does it with a process that is killed at this step, before or after what is done there."""
    module, _, name = step.partition(":")
    owner_name, _, attribute = name.rpartition(".")
    owner = resolve_name(f"{module}:{owner_name}" if owner_name else module)
    real = getattr(owner, attribute)

    def killed(*args: object, **kwargs: object) -> None:
        if is_done:
            real(*args, **kwargs)
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, attribute, killed)
        with pytest.raises(Killed):
            action()


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize(("kind", "step"), [(kind, each) for kind in STEPS for each in STEPS[kind]])
def test_a_deletion_that_was_killed_at_any_step_is_finished_or_was_never_begun(
    attic: Attic, deletions: Deletions, history: JobHistory, kind: str, step: str, is_done: bool
) -> None:
    job, other = attic.ended(Status.SUCCEEDED), attic.ended(Status.SUCCEEDED)
    actions: dict[str, Callable[[], object]] = {
        "job": lambda: deletions.delete_job(job.id),
        "model": lambda: deletions.delete_model(job.id),
        "checkpoint": lambda: deletions.delete_checkpoint(job.id, 4),
    }
    kill_at(step, actions[kind], is_done=is_done)
    attic.finish_deletions()
    assert attic.store.deleted.unfinished() == ()
    assert attic.names(other) == ALL_FILES
    assert other.fine_tuned_model in attic.store.models.all()
    assert [each.step for each in history.checkpoints(other.id).items] == [4]
    if not is_gone(attic, history, job, kind):
        # Only before the first step is done; for a checkpoint, before its directory is renamed.
        assert step == STEPS[kind][0]
        assert not is_done or kind == "checkpoint"
        assert attic.names(job) == ALL_FILES
        actions[kind]()
        assert is_gone(attic, history, job, kind)


def is_gone(attic: Attic, history: JobHistory, job: Job, kind: str) -> bool:
    """All or nothing of it, on disk and in the store."""
    checkpoint, model = "output/checkpoint-4/config.json", "output/config.json"
    names = attic.names(job)
    if kind == "job":
        is_left = attic.is_known(job)
        assert attic.files(job).path.exists() == is_left
        assert bool(list(attic.redis.scan_iter(f"*{job.id}*"))) == is_left
        return not is_left
    assert attic.is_known(job)
    if kind == "model":
        is_left = job.fine_tuned_model in attic.store.models.all()
        assert (attic.store.get(job.id).fine_tuned_model is not None) == is_left
        assert names == ALL_FILES - (set() if is_left else {model})
        return not is_left
    is_left = bool(history.checkpoints(job.id).items)
    assert names == ALL_FILES - (set() if is_left else {checkpoint})
    return not is_left


@pytest.mark.parametrize("status", OUTCOMES)
def test_a_store_that_was_rolled_back_brings_no_deleted_job_back(
    attic: Attic, deletions: Deletions, redis: Redis, status: Status
) -> None:
    job, other = attic.ended(status), attic.ended(status)
    before = dump(redis)
    deletions.delete_job(job.id)
    roll_back(redis, before)
    assert attic.is_known(job)
    attic.finish_deletions()
    assert not attic.is_known(job)
    assert not attic.files(job).path.exists()
    assert not list(redis.scan_iter(f"*{job.id}*"))
    assert [each.id for each in attic.store.list(after=None, limit=9).items] == [other.id]
    assert redis.hget(keys.COUNTS, status) == "1"
    assert job.id not in {*redis.hvals(keys.NAMES), *redis.hvals(keys.MODELS)}
    assert attic.names(other) == ALL_FILES


def test_a_job_that_runs_again_in_a_store_that_was_rolled_back_is_ended(
    attic: Attic, deletions: Deletions, redis: Redis
) -> None:
    job = queued_job(attic.store)
    attic.write_files(job)
    before = dump(redis)
    attic.store.cancel(job.id)
    deletions.delete_job(job.id)
    roll_back(redis, before)
    claim = claim_again(attic.store, job.id)
    directory = attic.files(job)
    directory.path.mkdir()
    lock = take_lock(directory.lock, patience_seconds=0)  # the attempt that has just begun
    attic.finish_deletions()
    assert attic.store.leases.heartbeat(claim, 60).name == "LOST"
    assert directory.path.exists()
    os.close(lock)
    attic.finish_deletions()
    assert not directory.path.exists()
    assert not list(redis.scan_iter(f"*{job.id}*"))
    assert redis.zcard(keys.RUNNING) == redis.zcard(keys.QUEUED) == 0


def test_a_store_that_was_rolled_back_brings_no_deleted_model_back(
    attic: Attic, deletions: Deletions, redis: Redis
) -> None:
    job = attic.ended(Status.SUCCEEDED)
    before = dump(redis)
    deletions.delete_model(job.id)
    roll_back(redis, before)
    assert attic.store.get(job.id).fine_tuned_model is not None
    attic.finish_deletions()
    assert attic.store.get(job.id).fine_tuned_model is None
    assert attic.store.models.all() == {}


def dump(redis: Redis) -> dict[str, bytes]:
    """What the store holds."""
    with Redis.from_url(url_of(redis)) as raw:
        return {key: raw.dump(key) for key in raw.scan_iter()}


def roll_back(redis: Redis, before: dict[str, bytes]) -> None:
    with Redis.from_url(url_of(redis)) as raw:
        raw.flushdb()
        for key, value in before.items():
            raw.restore(key, 0, value)


def url_of(redis: Redis) -> str:
    at = redis.connection_pool.connection_kwargs
    return f"redis://{at['host']}:{at['port']}/{at.get('db', 0)}"


@pytest.mark.parametrize("kind", ["job", "result"])
def test_what_a_late_process_writes_into_a_deleted_job_goes_too(
    attic: Attic, deletions: Deletions, kind: str
) -> None:
    job = attic.ended(Status.FAILED)
    deletions.delete_job(job.id)
    attic.files(job).path.mkdir()
    name = attic.files(job).job_record if kind == "job" else attic.files(job).result
    name.write_text("{}")
    attic.finish_deletions()
    assert not attic.files(job).path.exists()


def test_tombstones_go_when_no_snapshot_can_be_older(attic: Attic, deletions: Deletions) -> None:
    old, young = attic.ended(Status.FAILED), attic.ended(Status.FAILED)
    deletions.delete_job(old.id)
    deletions.delete_job(young.id)
    deleted = attic.settings().home_directories.deleted
    at = (deleted / f"{old.id}.json").stat().st_mtime - (KEEP_DAYS + 1) * 24 * 3600
    os.utime(deleted / f"{old.id}.json", (at, at))
    attic.finish_deletions()
    assert tombstones(attic).ids() == {young.id}


def test_a_full_disk_can_be_made_room_on(
    attic: Attic, deletions: Deletions, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = attic.ended(Status.SUCCEEDED)
    write, tries = Tombstones.write, []

    def is_full(self: Tombstones, tombstone: object) -> None:
        tries.append(attic.files(job).path.exists())
        if tries[-1]:
            raise OSError(28, "No space left on device")
        write(self, tombstone)  # type: ignore[arg-type]

    monkeypatch.setattr(Tombstones, "write", is_full)
    assert deletions.delete_job(job.id) > 0
    assert tries == [True, False]
    assert tombstones(attic).ids() == {job.id}


def test_a_tombstone_that_was_damaged_stops_no_other(
    attic: Attic, deletions: Deletions, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = attic.ended(Status.FAILED), attic.ended(Status.FAILED)
    before = dump(redis)
    deletions.delete_job(bad.id)
    deletions.delete_job(good.id)
    roll_back(redis, before)
    (attic.settings().home_directories.deleted / f"{bad.id}.json").write_text("{")
    attic.finish_deletions()
    assert f"{bad.id}.json" in caplog.text
    with pytest.raises(NotFoundError):
        attic.store.get(good.id)


def test_a_deletion_that_can_not_be_finished_is_reported_once_and_tried_again(
    attic: Attic,
    deletions: Deletions,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = attic.ended(Status.FAILED)
    remove_tree = shutil.rmtree

    def refuses(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("worker.jobs.storage.job_files.shutil.rmtree", refuses)
    with pytest.raises(PermissionError):
        deletions.delete_job(job.id)
    controller = attic.unfinished_deletions()
    for _ in range(3):
        controller.step()
    assert caplog.text.count("not finished: [Errno 13] Permission denied") == 1
    monkeypatch.setattr("worker.jobs.storage.job_files.shutil.rmtree", remove_tree)
    controller.step()
    assert not attic.files(job).path.exists()
    assert model_id(job.id, job.spec) not in attic.redis.hgetall(keys.NAMES)
