"""A recovery while workers train on, controllers are killed, the store is lost once more."""

import os
import time
from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from tests.worker.controller.lost_store import LosableStore, assert_same, write_begun
from tests.worker.programs.controller_with_checks import argv
from tests.worker.scenes import wait_until
from worker.controller import recovery as recovery_module
from worker.controller.controller import Controller
from worker.jobs.job import JobError, Status
from worker.jobs.storage.lock import take_lock
from worker.jobs.store import keys
from worker.jobs.store.serialization import Failed


def test_a_worker_that_trains_on_ends_its_trainer_and_the_job_is_finished_by_another(
    service: LosableStore,
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


def test_a_claim_of_the_lost_store_that_left_no_trace_is_shut_out(service: LosableStore) -> None:
    job = service.queued()
    old = service.store.leases.claim(worker="gpu-0", num_slots=8, lease_seconds=60)
    assert old is not None
    service.lose_the_store()
    service.recover()
    assert service.store.accept(job.id)
    new = service.store.leases.claim(worker="gpu-1", num_slots=8, lease_seconds=60)
    assert new is not None
    assert new.epoch > old.epoch
    assert service.store.leases.heartbeat(old, 60).name == "LOST"
    error = JobError(code="internal", message="")
    assert not service.store.leases.finish(old, Failed(error))


def test_a_controller_that_is_killed_in_the_middle_leaves_nothing_undone(
    service: LosableStore, monkeypatch: pytest.MonkeyPatch
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
    service: LosableStore, monkeypatch: pytest.MonkeyPatch
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


def test_one_controller_at_a_time_recovers(service: LosableStore) -> None:
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
    service: LosableStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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


def test_a_controller_recovers_when_asked_and_goes_on_with_its_other_work(
    service: LosableStore, redis: Redis
) -> None:
    done = service.workshop.run(service.queued().id)
    new = service.create(training_file="data.json")
    service.workshop.data.write_text("{}")
    service.lose_the_store()
    service.desk.request()
    controller = Controller(service.workshop.settings, redis, argv=argv)

    def is_queued() -> bool:
        controller.round()
        state = service.desk.state()
        is_done = state is not None and state.status == "done"
        return is_done and service.store.get(new.id).status is Status.QUEUED

    wait_until(is_queued)
    controller.close()
    assert service.store.get(done.id).status is Status.SUCCEEDED
