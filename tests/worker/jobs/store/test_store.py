import json
import re
import time
from typing import cast

import pytest
from redis import Redis

from tests.worker.scenes import claim_again, claimed_job, queued_job, spec
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import JobError, Status
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.serialization import Cancelled, Failed, Succeeded
from worker.jobs.store.store import JobStore

HASH_READS = ("cmdstat_hget", "cmdstat_hmget", "cmdstat_hgetall")


def test_a_new_job_keeps_its_whole_spec(store: JobStore) -> None:
    asked = spec(
        validation_file="file-2",
        suffix="math",
        seed=7,
        metadata={"team": "ü"},
        hyperparameters={"learning_rate": 3e-5, "max_steps": 10},
    )
    job = store.create(asked)
    assert re.fullmatch(r"ftjob-[a-z0-9]{24}", job.id)
    assert store.get(job.id) == job
    assert job.spec == asked
    assert job.status is Status.VALIDATING_FILES
    assert abs(job.created_at - time.time()) < 60
    assert (job.epoch, job.attempt, job.started_at, job.finished_at) == (0, 0, None, None)


def test_a_job_that_does_not_exist_is_named(store: JobStore) -> None:
    with pytest.raises(NotFoundError, match="ftjob-nothing"):
        store.get("ftjob-nothing")
    with pytest.raises(NotFoundError, match="ftjob-nothing"):
        store.cancel("ftjob-nothing")
    assert not store.accept("ftjob-nothing")
    assert store.leases.claim(worker="w", num_slots=1, lease_seconds=1) is None


def test_a_second_try_with_the_same_submission_key_finds_the_first_job(
    store: JobStore, redis: Redis
) -> None:
    first = store.create(spec(), submission_key="key-1")
    again = store.create(spec(seed=9), submission_key="key-1")
    other = store.create(spec(), submission_key="key-2")
    assert again == first
    assert other.id != first.id
    assert 0 < redis.ttl(keys.submission("key-1")) <= 24 * 3600


def test_jobs_without_a_submission_key_are_all_different(store: JobStore) -> None:
    assert store.create(spec()).id != store.create(spec()).id


def test_files_are_checked_in_the_order_of_the_jobs(store: JobStore) -> None:
    ids = [store.create(spec()).id for _ in range(4)]
    assert [job.id for job in store.to_validate(3)] == ids[:3]
    store.accept(ids[0])
    assert [job.id for job in store.to_validate(3)] == ids[1:]


def test_a_rejected_job_says_why(store: JobStore, history: JobHistory) -> None:
    job = store.create(spec())
    error = JobError(code="bad_data", message='record 3: no "value"', param="training_file")
    assert store.reject(job.id, error)
    assert not store.reject(job.id, error)
    assert not store.accept(job.id)
    failed = store.get(job.id)
    assert (failed.status, failed.error) == (Status.FAILED, error)
    assert failed.finished_at is not None
    last = history.events(job.id).items[0]
    assert (last.level, last.data) == ("error", {"status": "failed"})
    assert 'record 3: no "value"' in last.message


def test_a_claim_starts_an_attempt(store: JobStore, history: JobHistory) -> None:
    claim = claimed_job(store, worker="gpu-7")
    assert claim.attempt == 1
    job = claim.job
    assert (job.status, job.worker) == (Status.RUNNING, "gpu-7")
    assert job.started_at is not None
    assert job.last_heartbeat_at is not None
    assert store.leases.claim(worker="gpu-8", num_slots=8, lease_seconds=60) is None
    assert history.events(job.id).items[0].message == "Attempt 1 started on worker gpu-7"


def test_a_claim_whose_answer_was_lost_is_given_again(redis: Redis, store: JobStore) -> None:
    """The client sends a script again when its connection breaks: the first claim must not leave
    a job that runs nowhere."""
    job = queued_job(store)
    claim = store.scripts._scripts["claim"]
    before, after = ("gpu-0", 8, 60_000), (0, 0, 0)
    answers = [claim(args=[*before, "token", *after]) for _ in range(2)]
    assert answers == [["claimed", job.id]] * 2
    assert claim(args=[*before, "other token", *after]) is None
    assert store.get(job.id).attempt == 1


def test_a_succeeded_job_has_its_model_registered(store: JobStore) -> None:
    claim = claimed_job(store)
    assert store.leases.finish(claim, Succeeded("ft:x"))
    job = store.get(claim.job.id)
    assert (job.status, job.fine_tuned_model, job.phase) == (Status.SUCCEEDED, "ft:x", None)
    assert (job.worker, job.error) == (None, None)
    assert store.models.all() == {"ft:x": job.id}
    assert store.models.job_of("ft:x") == job.id
    with pytest.raises(NotFoundError, match="ft:y"):
        store.models.job_of("ft:y")


def test_a_failed_job_has_its_error(store: JobStore) -> None:
    claim = claimed_job(store)
    error = JobError(code="cuda_oom", message="out of memory", param=None)
    assert store.leases.finish(claim, Failed(error))
    job = store.get(claim.job.id)
    assert (job.status, job.error) == (Status.FAILED, error)
    assert store.models.all() == {}


def test_the_end_is_told_once_and_may_be_told_again(store: JobStore, history: JobHistory) -> None:
    claim = claimed_job(store)
    assert store.leases.finish(claim, Succeeded("ft:x"))
    num_events = len(history.events(claim.job.id).items)
    assert store.leases.finish(claim, Succeeded("ft:x"))
    assert not store.leases.finish(claim, Cancelled())
    assert len(history.events(claim.job.id).items) == num_events
    assert store.get(claim.job.id).status is Status.SUCCEEDED


@pytest.mark.parametrize("is_queued", [False, True])
def test_a_job_that_waits_is_cancelled_at_once(store: JobStore, is_queued: bool) -> None:
    job = queued_job(store) if is_queued else store.create(spec())
    assert store.cancel(job.id).status is Status.CANCELLED
    assert store.to_validate(10) == ()
    assert store.leases.pending_notifications(0, 10) == ()
    with pytest.raises(InvalidRequestError, match="already cancelled"):
        store.cancel(job.id)


def test_a_running_job_is_asked_to_stop_once(store: JobStore, history: JobHistory) -> None:
    claim = claimed_job(store)
    assert store.cancel(claim.job.id).is_cancelling
    assert store.cancel(claim.job.id).status is Status.RUNNING
    messages = [event.message for event in history.events(claim.job.id).items]
    assert messages.count("Cancellation requested") == 1
    assert store.leases.finish(claim, Cancelled())
    assert store.get(claim.job.id).status is Status.CANCELLED


def test_a_job_that_has_ended_cannot_be_cancelled(store: JobStore) -> None:
    claim = claimed_job(store)
    store.leases.finish(claim, Succeeded("ft:x"))
    with pytest.raises(InvalidRequestError, match="succeeded; only a job that has not ended"):
        store.cancel(claim.job.id)


def test_a_job_that_ended_while_its_cancellation_was_on_the_way_keeps_its_outcome(
    store: JobStore,
) -> None:
    claim = claimed_job(store)
    store.cancel(claim.job.id)
    assert store.leases.finish(claim, Succeeded("ft:x"))
    assert store.get(claim.job.id).status is Status.SUCCEEDED


def test_doorbells_are_rung_for_new_jobs_first_and_again_when_they_are_old(
    store: JobStore, redis: Redis
) -> None:
    first, second = queued_job(store).id, queued_job(store).id
    assert store.leases.pending_notifications(30, limit=10) == (first, second)
    assert store.leases.pending_notifications(30, limit=10) == ()
    third = queued_job(store).id
    redis.zadd(keys.PENDING_NOTIFICATIONS, {first: (time.time() - 31) * 1000})
    assert store.leases.pending_notifications(30, limit=10) == (third, first)


def test_a_job_that_went_back_into_the_queue_gets_a_new_doorbell(store: JobStore) -> None:
    job = queued_job(store)
    assert store.leases.pending_notifications(30, limit=10) == (job.id,)
    claim = claim_again(store, job.id)
    assert store.leases.pending_notifications(30, limit=10) == ()
    store.leases.release(claim, reason="the worker stops")
    assert store.leases.pending_notifications(30, limit=10) == (job.id,)


def test_every_event_of_the_life_says_the_new_status(store: JobStore, history: JobHistory) -> None:
    claim = claimed_job(store)
    store.leases.finish(claim, Succeeded("ft:x"))
    events = history.events_since(claim.job.id).items
    assert [event.data["status"] for event in events] == [
        "validating_files",
        "queued",
        "running",
        "succeeded",
    ]
    assert [event.seq for event in events] == [1, 2, 3, 4]


def test_nothing_is_kept_outside_our_prefix(store: JobStore, redis: Redis) -> None:
    store.leases.finish(claimed_job(store, metadata={"a": "b"}), Succeeded("ft:x"))
    store.create(spec(), submission_key="k")
    names = [str(name) for name in redis.scan_iter()]
    assert names
    assert all(name.startswith(keys.PREFIX) for name in names)
    assert json.loads(redis.hget(keys.job(store.models.all()["ft:x"]), "metadata") or "") == {
        "a": "b"
    }


def test_who_needs_a_file_is_found_without_reading_ended_jobs(
    store: JobStore, redis: Redis
) -> None:
    paused = store.create(spec(training_file="file-7"))
    store.pause(paused.id)
    for _ in range(50):
        store.cancel(store.create(spec()).id)
    redis.config_resetstat()
    assert store.deleted.users_of_file("file-7") == (paused.id,)
    stats = cast(dict[str, dict[str, int]], redis.info("commandstats"))
    assert sum(stats[name]["calls"] for name in stats if name in HASH_READS) <= 3


def test_paused_jobs_of_an_older_store_are_found_and_indexed(store: JobStore, redis: Redis) -> None:
    paused = [store.create(spec(validation_file="file-7")).id for _ in range(2)]
    for job_id in paused:
        store.pause(job_id)
    redis.delete(keys.PAUSED)
    assert store.deleted.users_of_file("file-7") == tuple(paused)
    assert redis.zrange(keys.PAUSED, 0, -1) == paused
    redis.zrem(keys.PAUSED, paused[0])
    assert (paused[0], f"its entry in {keys.PAUSED}") in store.mend(paused, lease_seconds=1)
