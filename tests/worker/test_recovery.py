"""The store is lost as a whole, and `flant5 recover` brings every job back from the disk."""

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from pydantic import SecretStr
from redis import Redis

from flant5_train.failure import FailureCode
from tests.worker.programs.keeper_with_checks import argv
from tests.worker.scenes import spec, wait_until
from tests.worker.workshop import Workshop, open_workshop
from worker import recovery as recovery_module
from worker.attempt_record import AttemptRecord, write_attempt
from worker.jobs import keys
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.ledger import JobRecord, Ledger
from worker.jobs.life import Status
from worker.jobs.models import ModelCatalog
from worker.jobs.recovery import Recovery, RecoveryDesk
from worker.jobs.update import Failed
from worker.keeper import Keeper
from worker.lock import take_lock
from worker.recovery import Recoverer
from worker.result import write_result


class Service:
    """The workshop and its ledger, as the API keeps it, and a keeper's recoverer."""

    def __init__(self, workshop: Workshop, redis: Redis) -> None:
        self.workshop = workshop
        self.redis = redis
        self.store = workshop.store
        self.ledger = Ledger(workshop.settings.home_directories)
        self.desk = RecoveryDesk(redis)
        self.recoverer = self.new_recoverer()

    def new_recoverer(self) -> Recoverer:
        return Recoverer(self.store, self.desk, self.workshop.settings)

    def create(self, **changes: object) -> Job:
        job = self.store.create(spec(**{"training_file": "data.json"} | changes))
        self.ledger.write(job)
        return job

    def queued(self, **changes: object) -> Job:
        parameters = {"max_steps": 6, "save_steps": 4}
        job = self.create(**{"hyperparameters": parameters} | changes)
        assert self.store.accept(job.id)
        return self.store.get(job.id)

    def cancelled(self, job: Job) -> Job:
        job = self.store.cancel(job.id)
        self.ledger.write(job)
        return job

    def paused(self, job: Job) -> Job:
        job = self.store.pause(job.id)
        self.ledger.write(job)
        return job

    def resumed(self, job: Job) -> Job:
        job = self.store.resume(job.id)
        self.ledger.write(job)
        return job

    def lose_the_store(self) -> None:
        self.redis.flushall()

    def recover(self, recoverer: Recoverer | None = None) -> Recovery:
        self.desk.request()

        def is_done() -> bool:
            (recoverer or self.recoverer).step()
            state = self.desk.state()
            return state is not None and state.status == "done"

        wait_until(is_done, what="the recovery")
        done = self.desk.state()
        assert done is not None
        return done

    def everything(self, job_id: str) -> dict[str, object]:
        """What callers see of a job, but for what only the store wrote or counts anew."""
        job = self.store.get(job_id)
        changing = {"epoch", "attempt", "worker", "last_heartbeat_at", "run_seconds"}
        changing |= {"queued_at", "losses", "failures", "retry_at"}
        history = self.workshop.history
        events = history.events_since(job_id, limit=10_000).items
        return {
            "job": job.model_dump(exclude=changing | {"finished_at"}),
            "finished_at": job.finished_at,
            "events": [
                event.model_dump(exclude={"id", "seq"})
                for event in events
                if "status" not in event.data and event.data
            ],
            "logs": [line.model_dump(exclude={"id"}) for line in history.logs(job_id).items],
            "checkpoints": [
                checkpoint.model_dump(exclude={"id"})
                for checkpoint in history.checkpoints(job_id, limit=100).items
            ],
        }


def assert_same(after: dict[str, object], before: dict[str, object]) -> None:
    # The worker's clock tells the end on disk, the server's in the store.
    assert after.pop("finished_at") == pytest.approx(before["finished_at"], abs=30)
    assert after == {name: value for name, value in before.items() if name != "finished_at"}


@pytest.fixture
def service(workshop: Workshop, redis: Redis) -> Iterator[Service]:
    service = Service(workshop, redis)
    yield service
    service.recoverer.close()


def run_to_the_middle(service: Service, job: Job) -> Job:
    """The worker stops after a checkpoint; the job is back in the queue."""
    workshop = service.workshop
    workshop.hold_after(5)

    def stop() -> None:
        workshop.wait_for_step(job.id, 5)
        workshop.stopping.set()

    stopped = workshop.run_while(job.id, stop)
    workshop.stopping.clear()
    workshop.let_go()
    assert stopped.status is Status.QUEUED
    return stopped


def test_jobs_in_every_status_are_back_with_all_of_their_history(service: Service) -> None:
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


def test_a_second_recovery_changes_nothing(service: Service) -> None:
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


def test_the_store_may_be_lost_again_and_again(service: Service) -> None:
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


def test_a_result_from_before_a_resume_is_no_end(service: Service) -> None:
    failed = service.workshop.run(service.queued().id, "fails_with_error_file.py")
    assert failed.status is Status.FAILED
    service.resumed(failed)
    service.lose_the_store()
    service.recover()
    assert service.store.get(failed.id).status is Status.QUEUED
    assert service.workshop.run(failed.id).status is Status.SUCCEEDED


def test_a_trainer_that_ended_while_nobody_could_be_told_has_succeeded(service: Service) -> None:
    job = service.workshop.run(service.queued().id)
    service.workshop.run_directory(job.id).result.unlink()
    service.lose_the_store()
    service.recover()
    again = service.store.get(job.id)
    assert again.status is Status.SUCCEEDED
    assert again.fine_tuned_model == job.fine_tuned_model
    assert again.finished_at == pytest.approx(job.finished_at, abs=30)


def test_a_job_that_failed_in_the_store_alone_is_not_tried_again(
    service: Service, redis: Redis
) -> None:
    job = service.create(training_file="gone.json")
    keeper = Keeper(service.workshop.settings, redis, argv=argv)

    def has_failed() -> bool:
        keeper.round()
        return service.store.get(job.id).status is Status.FAILED

    wait_until(has_failed)
    keeper.close()
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
    service = Service(open_workshop(redis_url, tmp_path, max_losses=1), redis)
    job = service.workshop.run(service.queued().id, "one_rank_is_killed.py")
    assert job.status is Status.FAILED
    before = service.everything(job.id)
    service.lose_the_store()
    service.recover()
    service.recoverer.close()
    assert_same(service.everything(job.id), before)


def test_the_time_on_a_worker_counts_on(service: Service) -> None:
    paused = service.paused(run_to_the_middle(service, service.queued()))
    assert paused.run_seconds > 0
    service.lose_the_store()
    service.recover()
    restored = service.store.get(paused.id)
    assert 0 < restored.run_seconds <= paused.run_seconds


def test_a_model_that_was_deleted_stays_deleted(service: Service) -> None:
    kept, deleted = (service.workshop.run(service.queued().id) for _ in range(2))
    catalog = ModelCatalog(service.workshop.settings, service.store)
    assert deleted.fine_tuned_model is not None
    catalog.delete(deleted.fine_tuned_model)
    service.ledger.write(service.store.get(deleted.id))  # a late retry of the submission
    service.lose_the_store()
    service.recover()
    assert service.store.get(deleted.id).status is Status.SUCCEEDED
    assert service.store.models.all() == {kept.fine_tuned_model: kept.id}


def test_new_jobs_of_the_empty_store_keep_their_place_beside_the_restored(
    service: Service,
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


def test_owners_limits_and_priorities_count_restored_jobs(service: Service, redis: Redis) -> None:
    low, high = service.queued(), service.queued(priority=5)
    for job in (low, high):
        write_begun(service, job)
    service.lose_the_store()
    service.recover()
    assert redis.zrange(keys.QUEUED, 0, -1) == [high.id, low.id]
    assert redis.smembers(keys.waiting_of("")) == {high.id, low.id}
    assert redis.smembers(keys.running_of("")) == set()


def write_begun(service: Service, job: Job) -> None:
    record = AttemptRecord(epoch=1, attempt=1, worker="gpu-0", host="here", started_at=1e9)
    write_attempt(service.workshop.run_directory(job.id).attempt, record)


def test_a_worker_that_trains_on_ends_its_trainer_and_the_job_is_finished_by_another(
    service: Service,
) -> None:
    workshop = service.workshop
    job = service.queued()
    workshop.hold_after(5)
    pids: list[int] = []

    def flush_and_recover() -> None:
        workshop.wait_for_step(job.id, 5)
        pids.extend(workshop.pids(job.id))
        service.lose_the_store()
        report = service.recover()
        assert [each.status for each in report.restored] == [Status.QUEUED]

    left = workshop.run_while(job.id, flush_and_recover)
    assert left.status is Status.QUEUED
    assert left.epoch > time.time() * 1000 - 60_000
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    workshop.let_go()
    assert workshop.run(job.id).status is Status.SUCCEEDED
    # Step 5 was after the last checkpoint: it is trained again, and told twice.
    assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 5, 6]
    assert service.workshop.history.logs(job.id).items[-1].line == "the last line of the log"


def test_a_claim_of_the_lost_store_that_left_no_trace_is_shut_out(service: Service) -> None:
    job = service.queued()
    old = service.store.leases.claim(worker="gpu-0", num_slots=8, lease_seconds=60)
    assert old is not None
    service.lose_the_store()
    service.recover()
    assert service.store.accept(job.id)
    new = service.store.leases.claim(worker="gpu-1", num_slots=8, lease_seconds=60)
    assert new is not None
    assert new.epoch > old.epoch
    assert service.store.leases.beat(old, 60).name == "LOST"
    error = JobError(code="internal", message="")
    assert not service.store.leases.finish(old, Failed(error))


def test_a_keeper_that_is_killed_in_the_middle_leaves_nothing_undone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [service.workshop.run(service.queued().id) for _ in range(4)]
    before = [service.everything(job.id) for job in jobs]
    service.lose_the_store()
    service.desk.request()
    monkeypatch.setattr(recovery_module, "SLICE_SECONDS", 0.0)

    def is_in_the_middle() -> bool:
        monkeypatch.setattr(recovery_module, "SLICE_SECONDS", 0.002)
        service.recoverer.step()
        state = service.desk.state()
        is_held = service.redis.zcard(keys.RUNNING) > 0
        return is_held and state is not None and len(state.restored) >= 1

    wait_until(is_in_the_middle)
    service.recoverer.close()  # as the kernel does for a process that was killed
    held = cast(list[str], service.redis.zrange(keys.RUNNING, 0, -1))
    monkeypatch.setattr(recovery_module, "SLICE_SECONDS", 0.25)
    report = service.recover(successor := service.new_recoverer())
    successor.close()
    assert len(report.restored) == 3
    assert report.num_known == 1
    # Its lease runs out, and a worker finds what is on disk.
    service.redis.zadd(keys.RUNNING, {held[0]: 1})
    assert service.store.leases.reap(10) == tuple(held)
    assert service.workshop.run(held[0]).status is Status.SUCCEEDED
    for job, expected in zip(jobs, before, strict=True):
        assert_same(service.everything(job.id), expected)


def test_a_job_is_held_for_as_long_as_its_files_take(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.queued()
    write_begun(service, job)
    service.workshop.run_directory(job.id).log.write_text("a line of the log\n" * 200_000)
    service.lose_the_store()
    service.desk.request()
    monkeypatch.setattr(recovery_module, "SLICE_SECONDS", 0.001)

    def leases_for() -> float:
        until = service.redis.zscore(keys.RUNNING, job.id)
        return 0 if until is None else until / 1000 - time.time()

    def is_held() -> bool:
        service.recoverer.step()
        return leases_for() > 0

    wait_until(is_held)
    service.redis.zadd(keys.RUNNING, {job.id: time.time() * 1000 + 1000})

    def is_held_for_longer() -> bool:
        service.recoverer.step()
        assert service.store.get(job.id).status is Status.RUNNING
        return leases_for() > 3

    wait_until(is_held_for_longer)


def test_one_keeper_at_a_time_recovers(service: Service) -> None:
    service.create()
    service.lose_the_store()
    service.desk.request()
    lock_file = service.workshop.settings.home_directories.workers / "recovery.lock"
    lock = take_lock(lock_file, patience_seconds=0)
    service.recoverer.step()
    state = service.desk.state()
    assert state is not None
    assert state.status == "requested"
    os.close(lock)
    assert len(service.recover().restored) == 1


def test_a_store_that_is_lost_while_jobs_come_back_is_said_and_can_be_recovered(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [service.create() for _ in range(60)]
    service.lose_the_store()
    service.desk.request()
    monkeypatch.setattr(recovery_module, "SLICE_SECONDS", 0.001)

    def has_begun() -> bool:
        service.recoverer.step()
        return service.redis.zcard(keys.JOBS) > 0

    wait_until(has_begun)
    service.lose_the_store()
    service.recoverer.step()
    assert service.desk.state() is None
    monkeypatch.setattr(recovery_module, "SLICE_SECONDS", 0.25)
    assert len(service.recover().restored) == len(jobs)


GOOD_RESULT = {"epoch": 1, "is_cancelled": True}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("job.json", "{", "job.json: "),
        ("job.json", "", "job.json: "),
        ("job.json", "\udcff", "job.json: "),
        ("job.json", '{"number": "x"}', "job.json: "),
        ("attempt.json", '{"epoch": "x"}', "attempt.json: epoch: "),
        ("attempt.json", "[]", "attempt.json: "),
        ("result.json", json.dumps(GOOD_RESULT | {"epoch": 2**64}), "result.json: epoch: "),
        ("result.json", json.dumps(GOOD_RESULT | {"finished_at": 1e300}), "finished_at: "),
        ("result.json", '{"epoch": 1, "finished_at": NaN}', "finished_at: "),
        ("result.json", '{"epoch": 1, "colour": 1}', "colour: Extra inputs"),
    ],
)
def test_a_damaged_file_is_reported_and_the_other_jobs_come_back(
    service: Service, name: str, content: str, expected: str
) -> None:
    first, damaged, last = (service.create() for _ in range(3))
    path = service.workshop.run_directory(damaged.id).path / name
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    service.lose_the_store()
    report = service.recover()
    assert [each.id for each in report.restored] == [first.id, last.id]
    (problem,) = report.problems
    assert problem.id == damaged.id
    assert expected in problem.message
    assert str(path) in problem.message
    # Mended, and asked for again.
    if name == "job.json":
        path.write_text(JobRecord.of(damaged).model_dump_json())
    else:
        path.unlink()
    again = service.recover()
    assert ([each.id for each in again.restored], again.problems) == ([damaged.id], ())


def test_the_record_of_another_job_is_a_problem(service: Service) -> None:
    job, other = service.create(), service.create()
    path = service.workshop.run_directory(job.id).job_record
    path.write_bytes(service.workshop.run_directory(other.id).job_record.read_bytes())
    service.lose_the_store()
    (problem,) = service.recover().problems
    assert f"found {other.id!r}; expected {job.id!r}" in problem.message


def test_a_damaged_line_of_progress_is_told_in_the_history(service: Service) -> None:
    job = service.workshop.run(service.queued().id)
    with service.workshop.run_directory(job.id).progress.open("ab") as file:
        file.write(b"no record\n")
    service.lose_the_store()
    report = service.recover()
    assert report.problems == ()
    assert service.store.get(job.id).status is Status.SUCCEEDED
    assert any("was no record" in message for message in service.workshop.messages(job.id))


def test_history_that_cant_be_read_is_a_problem_and_the_job_is_back(service: Service) -> None:
    job = service.queued()
    write_begun(service, job)
    service.workshop.run_directory(job.id).progress.mkdir()
    service.lose_the_store()
    report = service.recover()
    assert [each.status for each in report.restored] == [Status.QUEUED]
    assert "progress.jsonl" in report.problems[0].message


def test_a_job_that_the_store_cant_take_keeps_no_other_from_coming_back(
    service: Service, redis: Redis
) -> None:
    first, odd, last = (service.create() for _ in range(3))
    service.lose_the_store()
    redis.set(keys.events(odd.id), "no stream")
    report = service.recover()
    assert [each.id for each in report.problems] == [odd.id]
    assert {first.id, last.id} <= {each.id for each in report.restored}


def test_files_that_are_no_run_directories_are_left_alone(service: Service) -> None:
    service.create()
    jobs = service.workshop.settings.home_directories.jobs
    (jobs / "notes.txt").write_text("mine")
    (jobs / "ftjob-without-a-record").mkdir()
    service.lose_the_store()
    report = service.recover()
    assert (report.num_found, report.problems) == (1, ())


def test_an_old_result_without_its_time_ends_the_job_when_it_was_written(
    service: Service,
) -> None:
    job = service.create()
    path = service.workshop.run_directory(job.id).result
    error = JobError(code=FailureCode.BAD_DATA.value, message="no")
    write_result(path, Failed(error), epoch=1)
    content = json.loads(path.read_text())
    del content["finished_at"]
    path.write_text(json.dumps(content))
    os.utime(path, (1e9, 1e9))
    service.lose_the_store()
    service.recover()
    restored = service.store.get(job.id)
    assert (restored.status, restored.finished_at) == (Status.FAILED, 1e9)


def test_an_empty_store_beside_jobs_on_disk_is_said_once_with_the_command(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        return [each.message for each in caplog.records if each.levelno == logging.CRITICAL]

    service.recoverer.step()
    assert warnings() == []
    service.create()
    service.recoverer.step()
    assert warnings() == []
    service.lose_the_store()
    service.recoverer.step()
    service.recoverer.step()
    (warning,) = warnings()
    assert "flant5 recover" in warning
    service.recover()
    assert len(warnings()) == 1


def test_a_keeper_recovers_when_asked_and_goes_on_with_its_other_work(
    service: Service, redis: Redis
) -> None:
    done = service.workshop.run(service.queued().id)
    new = service.create(training_file="data.json")
    service.workshop.data.write_text("{}")
    service.lose_the_store()
    service.desk.request()
    keeper = Keeper(service.workshop.settings, redis, argv=argv)

    def is_queued() -> bool:
        keeper.round()
        state = service.desk.state()
        is_done = state is not None and state.status == "done"
        return is_done and service.store.get(new.id).status is Status.QUEUED

    wait_until(is_queued)
    keeper.close()
    assert service.store.get(done.id).status is Status.SUCCEEDED
