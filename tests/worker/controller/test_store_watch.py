"""A store that loses a part or goes back in time: the next round of the controller reports and
mends it."""

import logging
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from tests.worker.controller.lost_store import LosableStore, run_to_the_middle
from tests.worker.controller.rolled_back import Snapshot, WatchedStore
from tests.worker.scenes import claim_again, is_alive
from worker.execution.records import AttemptRecord, write_attempt
from worker.jobs.deletion import Deletions
from worker.jobs.job import Job, Status, model_id
from worker.jobs.store import keys
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.serialization import HeartbeatDirective


@pytest.fixture
def watched(service: LosableStore) -> Iterator[WatchedStore]:
    watched = WatchedStore(service)
    yield watched
    watched.watch.close()


def test_a_store_that_is_as_the_disk_is_no_loss(watched: WatchedStore) -> None:
    service = watched.service
    watched.round()
    done = service.workshop.run(service.queued().id)
    service.cancelled(service.create())
    service.paused(run_to_the_middle(service, service.queued()))
    service.resumed(service.workshop.run(service.queued().id, "fails_with_error_file.py"))
    service.create()
    watched.watch.close()
    again = WatchedStore(service)  # a controller that was restarted compares everything
    for each in (watched, again, again):
        each.round()
    again.watch.close()
    assert watched.losses() == []
    assert service.desk.state() is None
    assert service.store.get(done.id).status is Status.SUCCEEDED


def _created(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    return lambda: (service.create(), Status.VALIDATING_FILES)


def _cancelled(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    job = service.queued()
    return lambda: (service.cancelled(job), Status.CANCELLED)


def _paused(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    job = service.queued()
    return lambda: (service.paused(job), Status.PAUSED)


def _pause_ended(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    job = service.paused(service.queued())
    return lambda: (service.resumed(job), Status.QUEUED)


def _succeeded(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    job = service.queued()
    return lambda: (service.workshop.run(job.id), Status.SUCCEEDED)


def _failed(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    job = service.queued()
    program = "fails_with_error_file.py"
    return lambda: (service.workshop.run(job.id, program), Status.FAILED)


def _resumed_after_its_end(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    job = service.workshop.run(service.queued().id, "fails_with_error_file.py")
    return lambda: (service.resumed(job), Status.QUEUED)


def _resumed_and_succeeded(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    job = service.workshop.run(service.queued().id, "fails_with_error_file.py")

    def act() -> tuple[Job, Status]:
        service.resumed(job)
        return service.workshop.run(job.id), Status.SUCCEEDED

    return act


def _stopped_half_way(service: LosableStore) -> Callable[[], tuple[Job, Status]]:
    job = service.queued()
    return lambda: (run_to_the_middle(service, job), Status.QUEUED)


@pytest.mark.parametrize(
    "scene",
    [
        _created,
        _cancelled,
        _paused,
        _pause_ended,
        _succeeded,
        _failed,
        _resumed_after_its_end,
        _resumed_and_succeeded,
        _stopped_half_way,
    ],
)
def test_what_was_acknowledged_after_a_snapshot_is_brought_back_from_the_disk(
    watched: WatchedStore, scene: Callable[[LosableStore], Callable[[], tuple[Job, Status]]]
) -> None:
    service = watched.service
    service.create()
    act = scene(service)
    watched.round()
    snapshot = Snapshot.of(service.redis)
    job, status = act()
    before = service.everything(job.id)
    watched.round()

    snapshot.put_back(service.redis)
    loss = watched.noticed()
    assert "went back from" in loss.cause
    assert loss.jobs == (job.id,)
    recovery = watched.recovered()
    assert ([each.id for each in recovery.restored], recovery.problems) == ([job.id], ())
    assert recovery.cause == loss.cause
    assert service.store.get(job.id).status is status
    after = service.everything(job.id)
    for name in ("logs", "checkpoints", "events"):
        assert after[name] == before[name]
    watched.round()
    assert watched.losses() == [loss]


def test_a_job_that_was_restored_while_it_ran_goes_on_where_its_checkpoint_is(
    watched: WatchedStore,
) -> None:
    service = watched.service
    workshop = service.workshop
    watched.round()
    snapshot = Snapshot.of(service.redis)
    job = service.queued(hyperparameters={"max_steps": 9, "save_steps": 4})
    workshop.hold_after(5)

    def go_back() -> None:
        workshop.wait_for_step(job.id, 5)
        watched.round()
        snapshot.put_back(service.redis)
        assert watched.noticed().num_missing == 1
        watched.recovered()

    workshop.run_while(job.id, go_back)
    assert workshop.pids(job.id)
    assert not any(map(is_alive, workshop.pids(job.id)))
    workshop.let_go()
    assert service.store.get(job.id).status is Status.QUEUED
    assert workshop.run(job.id).status is Status.SUCCEEDED
    assert workshop.steps(job.id)[-5:] == [5, 6, 7, 8, 9]


def test_no_epoch_is_given_out_twice(watched: WatchedStore) -> None:
    service, store = watched.service, watched.service.store
    job = service.queued()
    snapshot = Snapshot.of(service.redis)
    old = claim_again(store, job.id, worker="gpu-0")
    snapshot.put_back(service.redis)
    new = claim_again(store, job.id, worker="gpu-1")
    assert new.epoch > old.epoch
    assert store.leases.heartbeat(old, 60) is HeartbeatDirective.LOST
    assert store.leases.heartbeat(new, 60) is HeartbeatDirective.GO_ON


def test_a_claim_below_an_epoch_on_disk_is_given_up_and_the_next_one_is_above_it(
    watched: WatchedStore,
) -> None:
    """As after a failover to a server whose clock is behind."""
    service, workshop = watched.service, watched.service.workshop
    job = service.queued()
    ahead = service.store.get(job.id).epoch + 10**13
    record = AttemptRecord(epoch=ahead, attempt=1, worker="gpu-1", host="there", started_at=1e9)
    write_attempt(workshop.run_directory(job.id).attempt, record)
    again = workshop.run(job.id)
    assert (again.status, again.attempt, again.losses) == (Status.QUEUED, 0, 0)
    assert again.epoch > ahead
    assert workshop.run(job.id).status is Status.SUCCEEDED


def test_a_deleted_model_stays_deleted_in_a_store_that_went_back(watched: WatchedStore) -> None:
    service = watched.service
    job = service.workshop.run(service.queued().id)
    assert job.fine_tuned_model is not None
    catalog = ModelCatalog(service.workshop.settings, service.store)
    deletions = Deletions(service.store, service.workshop.settings.home_directories)
    deletions.delete_model_by_name(job.fine_tuned_model, catalog)
    watched.round()
    watched.round()
    assert service.store.models.all() == {}
    assert watched.losses() == []


def _delete(key: str) -> Callable[[Redis, Job], object]:
    return lambda redis, job: redis.delete(key.format(id=job.id))


def _remove(key: str) -> Callable[[Redis, Job], object]:
    return lambda redis, job: redis.zrem(key, job.id)


@pytest.mark.parametrize(
    ("lose", "counts"),
    [
        (_delete("flant5:job:{id}"), (1, 0, 0)),
        (_remove("flant5:jobs"), (0, 0, 1)),
        (_remove("flant5:owner::jobs"), (0, 0, 1)),
        (_remove("flant5:queued"), (0, 0, 1)),
        (_remove("flant5:bells"), (0, 0, 1)),
        (lambda redis, job: redis.srem("flant5:owner::waiting", job.id), (0, 0, 1)),
        (lambda redis, job: redis.zadd("flant5:running", {job.id: 1}), (0, 0, 1)),
        (
            lambda redis, job: redis.hdel("flant5:names", model_id(job.id, job.spec)),
            (0, 0, 1),
        ),
        (_delete("flant5:queued"), (0, 0, 1)),
    ],
)
def test_a_single_key_or_index_entry_that_is_gone_is_noticed_and_mended(
    watched: WatchedStore, lose: Callable[[Redis, Job], object], counts: tuple[int, int, int]
) -> None:
    service, redis = watched.service, watched.service.redis
    service.create()
    job = service.queued()
    watched.round()
    before = {key: redis.dump(key) for key in _index_keys(redis)}
    lose(redis, job)
    loss = watched.noticed()
    assert (loss.num_missing, loss.num_older, loss.num_mended) == counts
    if loss.num_missing:
        watched.recovered()
    assert service.store.get(job.id).status is not None
    assert [each.id for each in service.store.list(after=None, limit=1).items] == [job.id]
    if not loss.num_missing:
        assert {key: redis.dump(key) for key in _index_keys(redis)} == before
        assert claim_again(service.store, job.id)


def _index_keys(redis: Redis) -> list[str]:
    names = (keys.JOBS, keys.QUEUED, keys.RUNNING, keys.NAMES, keys.jobs_of(""))
    return [name for name in (*names, keys.waiting_of("")) if redis.exists(name)]


def test_the_index_of_models_is_mended(watched: WatchedStore) -> None:
    service = watched.service
    job = service.workshop.run(service.queued().id)
    models = service.store.models.all()
    watched.round()
    service.redis.delete(keys.MODELS)
    assert watched.noticed().num_mended == 1
    assert service.store.models.all() == models == {job.fine_tuned_model: job.id}


def test_the_events_of_an_ended_job_are_read_from_the_disk_again(watched: WatchedStore) -> None:
    service = watched.service
    job = service.workshop.run(service.queued().id)
    before = service.everything(job.id)
    watched.round()
    service.redis.delete(keys.events(job.id))
    watched.watch.close()
    again = WatchedStore(service)
    assert again.noticed().num_older == 1
    again.recovered()
    after = service.everything(job.id)
    again.watch.close()
    assert after["events"] == before["events"]
    assert after["logs"] == before["logs"]
    assert service.store.get(job.id).status is Status.SUCCEEDED


def test_a_counter_that_went_back_gives_out_no_number_twice(watched: WatchedStore) -> None:
    service = watched.service
    numbers = [service.create().number for _ in range(3)]
    for value in (None, "1"):
        if value is None:
            service.redis.delete("flant5:counter")
        else:
            service.redis.set("flant5:counter", value)
        numbers.append(service.create().number)
    assert numbers == [1, 2, 3, 4, 5]


def test_a_create_that_is_repeated_after_its_job_was_restored_is_the_same_job(
    watched: WatchedStore,
) -> None:
    service = watched.service
    watched.round()
    snapshot = Snapshot.of(service.redis)
    job = service.store.create(service.create().spec, submission_key="once")
    service.job_records.write(job)
    watched.round()
    snapshot.put_back(service.redis)
    watched.noticed()
    watched.recovered()
    assert service.store.create(job.spec, submission_key="once").id == job.id


def test_an_empty_store_is_said_and_filled_only_on_request(
    watched: WatchedStore, caplog: pytest.LogCaptureFixture
) -> None:
    service = watched.service
    jobs = [service.create() for _ in range(3)]
    watched.round()
    service.lose_the_store()
    with caplog.at_level(logging.CRITICAL):
        loss = watched.noticed()
    assert (loss.is_whole, loss.num_missing) == (True, 3)
    assert "THE STORE IS EMPTY" in caplog.text
    for _ in range(3):
        watched.round()
    assert service.desk.state() is None
    assert len(watched.losses()) == 1
    report = service.recover()
    assert {each.id for each in report.restored} == {job.id for job in jobs}
    watched.round()
    assert len(watched.losses()) == 1
    # From then on it is watched as before.
    service.redis.delete(keys.job(jobs[0].id))
    assert watched.noticed().jobs == (jobs[0].id,)


def test_of_two_controllers_one_watches_and_the_other_takes_over(watched: WatchedStore) -> None:
    service = watched.service
    other = WatchedStore(service)
    job = service.create()
    watched.round()
    service.redis.delete(keys.job(job.id))
    other.watch.step()
    assert watched.losses() == []
    watched.watch.close()
    assert other.noticed().jobs == (job.id,)
    other.watch.close()


def test_what_cannot_be_restored_is_asked_for_once(watched: WatchedStore) -> None:
    service = watched.service
    service.create()
    job = service.create()
    watched.round()
    service.workshop.run_directory(job.id).job_record.write_text("{")
    service.redis.delete(keys.job(job.id))
    loss = watched.noticed()
    assert loss.jobs == (job.id,)
    first = watched.recovered()
    assert [each.id for each in first.problems] == [job.id]
    for _ in range(5):
        watched.round()
    assert service.desk.state() == first
    assert watched.losses() == [loss]
