"""The store is lost as a whole, and `flant5 recover` brings every job back from the disk."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.worker.controller.lost_store import (
    LosableStore,
    assert_same,
    run_to_the_middle,
    write_begun,
)
from tests.worker.programs.controller_with_checks import argv
from tests.worker.scenes import wait_until
from tests.worker.workshop import open_workshop
from worker.controller.controller import Controller
from worker.jobs.deletion import Deletions
from worker.jobs.job import Status, model_id
from worker.jobs.store import keys
from worker.jobs.store.models import ModelCatalog


def test_jobs_in_every_status_are_back_with_all_of_their_history(service: LosableStore) -> None:
    workshop, store = service.workshop, service.store
    succeeded = workshop.run(service.queued(suffix="math", metadata={"a": "b"}).id)
    failed = workshop.run(service.queued().id, "fails_with_error_file.py")
    begun_and_paused = service.paused(run_to_the_middle(service, service.queued()))
    begun_and_cancelled = service.cancelled(run_to_the_middle(service, service.queued()))
    running = run_to_the_middle(service, service.queued())
    cancelled = service.cancelled(service.create())
    paused = service.paused(service.queued())
    validating = service.create(priority=7)
    begun = (succeeded, failed, begun_and_paused, begun_and_cancelled, running)
    jobs = [*begun, cancelled, paused, validating]
    before = {job.id: service.everything(job.id) for job in jobs}
    listed = [job.id for job in store.list(after=None, limit=100).items]
    models = store.models.all()
    assert models == {model_id(succeeded.id, succeeded.spec): succeeded.id}

    service.lose_the_store()
    report = service.recover()

    assert (report.num_found, report.num_known, report.problems) == (8, 0, ())
    assert [each.id for each in report.restored] == [job.id for job in jobs]
    for job in jobs:
        assert_same(service.everything(job.id), before[job.id])
        (status,) = [each.status for each in report.restored if each.id == job.id]
        assert status is store.get(job.id).status
    assert [job.id for job in store.list(after=None, limit=100).items] == listed
    assert store.models.all() == models
    # The one that ran goes on where its last checkpoint is.
    assert workshop.run(running.id).status is Status.SUCCEEDED
    assert workshop.steps(running.id) == [1, 2, 3, 4, 5, 6]
    # The paused one is resumed, the cancelled one too.
    for job in (begun_and_paused, begun_and_cancelled):
        service.resumed(job)
        assert workshop.run(job.id).status is Status.SUCCEEDED
        assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 6]


def test_a_second_recovery_changes_nothing(service: LosableStore) -> None:
    jobs = [service.workshop.run(service.queued().id), service.create()]
    jobs.append(service.cancelled(service.create()))
    service.lose_the_store()
    service.recover()
    before = {key: service.redis.dump(key) for key in service.redis.scan_iter("flant5:job*")}
    report = service.recover()
    assert (report.num_found, report.num_known, report.restored) == (3, 3, ())
    assert {
        key: service.redis.dump(key) for key in service.redis.scan_iter("flant5:job*")
    } == before


def test_the_store_may_be_lost_again_and_again(service: LosableStore) -> None:
    done = service.workshop.run(service.queued().id)
    cancelled = service.cancelled(run_to_the_middle(service, service.queued()))
    before = [service.everything(job.id) for job in (done, cancelled)]
    epochs = [done.epoch]
    for _ in range(3):
        service.lose_the_store()
        service.recover()
        for job, expected in zip((done, cancelled), before, strict=True):
            assert_same(service.everything(job.id), expected)
        epochs.append(service.store.get(done.id).epoch)
    assert epochs == sorted(set(epochs))


def test_a_result_from_before_a_resume_is_no_end(service: LosableStore) -> None:
    failed = service.workshop.run(service.queued().id, "fails_with_error_file.py")
    assert failed.status is Status.FAILED
    service.resumed(failed)
    service.lose_the_store()
    service.recover()
    assert service.store.get(failed.id).status is Status.QUEUED
    assert service.workshop.run(failed.id).status is Status.SUCCEEDED


def test_a_trainer_that_ended_while_nobody_could_be_told_has_succeeded(
    service: LosableStore,
) -> None:
    job = service.workshop.run(service.queued().id)
    service.workshop.run_directory(job.id).result.unlink()
    service.lose_the_store()
    service.recover()
    again = service.store.get(job.id)
    assert again.status is Status.SUCCEEDED
    assert again.fine_tuned_model == job.fine_tuned_model
    assert again.finished_at == pytest.approx(job.finished_at, abs=30)


def test_a_job_that_failed_in_the_store_alone_is_not_tried_again(
    service: LosableStore, redis: Redis
) -> None:
    job = service.create(training_file="gone.json")
    controller = Controller(service.workshop.settings, redis, argv=argv)

    def has_failed() -> bool:
        controller.round()
        return service.store.get(job.id).status is Status.FAILED

    wait_until(has_failed)
    controller.close()
    before = service.everything(job.id)
    service.lose_the_store()
    service.recover()
    assert_same(service.everything(job.id), before)
    # And a resume is a resume.
    assert service.resumed(job).status is Status.VALIDATING_FILES
    service.lose_the_store()
    service.recover()
    assert service.store.get(job.id).status is Status.VALIDATING_FILES


def test_one_lost_attempt_too_many_is_an_end_as_well(
    redis_url: SecretStr, redis: Redis, tmp_path: Path
) -> None:
    service = LosableStore(open_workshop(redis_url, tmp_path, max_infra_retries=1), redis)
    job = service.workshop.run(service.queued().id, "one_rank_is_killed.py")
    assert job.status is Status.FAILED
    before = service.everything(job.id)
    service.lose_the_store()
    service.recover()
    service.recoverer.close()
    assert_same(service.everything(job.id), before)


def test_the_time_on_a_worker_counts_on(service: LosableStore) -> None:
    paused = service.paused(run_to_the_middle(service, service.queued()))
    assert paused.run_seconds > 0
    service.lose_the_store()
    service.recover()
    restored = service.store.get(paused.id)
    assert 0 < restored.run_seconds <= paused.run_seconds


def test_a_model_that_was_deleted_stays_deleted(service: LosableStore) -> None:
    kept, deleted = (service.workshop.run(service.queued().id) for _ in range(2))
    catalog = ModelCatalog(service.workshop.settings, service.store)
    assert deleted.fine_tuned_model is not None
    deletions = Deletions(service.store, service.workshop.settings.home_directories)
    deletions.delete_model_by_name(deleted.fine_tuned_model, catalog)
    service.job_records.write(service.store.get(deleted.id))  # a late retry of the submission
    service.lose_the_store()
    service.recover()
    assert service.store.get(deleted.id).status is Status.SUCCEEDED
    assert service.store.models.all() == {kept.fine_tuned_model: kept.id}


def test_a_job_that_was_deleted_stays_deleted(service: LosableStore) -> None:
    kept, gone, begun = (service.workshop.run(service.queued().id) for _ in range(3))
    home = service.workshop.settings.home_directories
    deletions = Deletions(service.store, home)
    assert deletions.delete_job(gone.id) > 0
    service.store.deleted.delete(begun)  # and the process was killed
    assert service.recover().restored == ()
    service.job_records.write(gone)  # a late retry of the submission
    service.lose_the_store()
    report = service.recover()
    assert {each.id for each in report.restored} == {kept.id, begun.id}
    # The deletion that was lost with the store before it was acknowledged can be sent again.
    assert deletions.delete_job(begun.id) > 0


def test_new_jobs_of_the_empty_store_keep_their_place_beside_the_restored(
    service: LosableStore,
) -> None:
    old = [service.create() for _ in range(3)]
    service.lose_the_store()
    new = [service.create() for _ in range(2)]
    report = service.recover()
    assert (report.num_found, report.num_known) == (5, 2)
    numbers = {job.id: service.store.get(job.id).number for job in (*old, *new)}
    assert [numbers[job.id] for job in new] == [1, 2]
    assert len(set(numbers.values())) == 5
    assert numbers[old[2].id] == 3
    assert service.create().number > max(numbers.values())


def test_owners_limits_and_priorities_count_restored_jobs(
    service: LosableStore, redis: Redis
) -> None:
    low, high = service.queued(), service.queued(priority=5)
    for job in (low, high):
        write_begun(service, job)
    service.lose_the_store()
    service.recover()
    assert redis.zrange(keys.QUEUED, 0, -1) == [high.id, low.id]
    assert redis.smembers(keys.waiting_of("")) == {high.id, low.id}
    assert redis.smembers(keys.running_of("")) == set()
