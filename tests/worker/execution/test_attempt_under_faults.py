"""An attempt whose worker, Redis or lease is lost in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.stack.redis import EmbeddedRedis
from tests.worker.scenes import environment, is_alive, wait_until
from tests.worker.workshop import PROGRAMS, Workshop, open_workshop
from worker.jobs.job import Status
from worker.jobs.store import keys
from worker.jobs.store.redis import open_redis
from worker.processes.trainer_process import TRAINER_MARK


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """Its own, because the tests kill it."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def start_worker(workshop: Workshop, job_id: str) -> subprocess.Popen[bytes]:
    settings = workshop.settings
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "runs_a_job.py"), job_id],
        env=environment(
            FLANT5_HOME=str(settings.home),
            FLANT5_DATA_ROOT=str(settings.data_root),
            FLANT5_REDIS_URL=settings.redis_url.get_secret_value(),
            FLANT5_WORKER_NAME=settings.worker_name,
            FLANT5_HEARTBEAT_INTERVAL_SECONDS="0.05",
            FLANT5_PROGRESS_POLL_SECONDS="0.002",
            FLANT5_REDIS_TIMEOUT_SECONDS=str(settings.redis_timeout_seconds),
            FLANT5_LEASE_SECONDS=str(settings.lease_seconds),
            FLANT5_SELF_FENCE_SECONDS=str(settings.self_fence_seconds),
        ),
    )


def test_training_goes_on_while_redis_restarts_and_nothing_is_lost_or_told_twice(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    workshop = open_workshop(server.url, tmp_path, self_fence_seconds=4.0, lease_seconds=10.0)
    job = workshop.new_job(max_steps=300, save_steps=50)
    workshop.hold_after(20)
    progress = workshop.run_directory(job.id).progress
    worker = start_worker(workshop, job.id)
    workshop.wait_for_step(job.id, 20)
    server.kill()
    workshop.hold_after(150)
    wait_until(lambda: b'"step":150' in progress.read_bytes())
    server.start()
    workshop.wait_for_step(job.id, 150)
    workshop.let_go()
    assert worker.wait(60) == 0
    after = workshop.store.get(job.id)
    assert (after.status, after.attempt) == (Status.SUCCEEDED, 1)
    assert workshop.steps(job.id) == list(range(1, 301))
    assert len(workshop.history.logs(job.id, limit=1000).items) == 301
    events = workshop.history.events_since(job.id).items
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_a_worker_without_redis_ends_its_trainer_before_its_lease_ends(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    workshop = open_workshop(server.url, tmp_path, self_fence_seconds=0.5)
    job = workshop.new_job(max_steps=9)
    workshop.hold_after(5)

    def away() -> None:
        workshop.wait_for_step(job.id, 5)
        server.process.send_signal(signal.SIGSTOP)
        (pid,) = workshop.pids(job.id)
        try:
            wait_until(lambda: not is_alive(pid), what="the trainer ends")
        finally:
            server.process.send_signal(signal.SIGCONT)

    after = workshop.run_while(job.id, away)
    assert (after.status, after.attempt) == (Status.RUNNING, 1)
    assert not workshop.run_directory(job.id).result.exists()
    workshop.let_go()
    workshop.store.leases.release_worker("gpu-0")
    assert workshop.run(job.id).status is Status.SUCCEEDED


def test_a_worker_that_lost_its_lease_ends_its_trainer_and_says_nothing(
    workshop: Workshop,
) -> None:
    job = workshop.new_job(max_steps=9)
    workshop.hold_after(5)
    redis = open_redis(workshop.settings.redis_url)

    def lose() -> None:
        workshop.wait_for_step(job.id, 5)
        redis.zadd(keys.RUNNING, {job.id: 1})
        assert workshop.store.leases.reap(1) == (job.id,)
        assert workshop.store.leases.claim(worker="gpu-1", num_slots=8, lease_seconds=60)

    after = workshop.run_while(job.id, lose)
    assert (after.status, after.worker) == (Status.RUNNING, "gpu-1")
    assert workshop.messages(job.id)[-1] == "Attempt 2 started on worker gpu-1"
    assert not any(map(is_alive, workshop.pids(job.id)))
    assert not workshop.run_directory(job.id).result.exists()


def test_a_killed_worker_leaves_no_process_and_the_next_one_goes_on_at_the_exact_byte(
    workshop: Workshop,
) -> None:
    job = workshop.new_job(max_steps=3000, save_steps=100)
    directory = workshop.run_directory(job.id)
    workshop.hold_after(2999)
    for _ in range(3):
        before = workshop.num_events(job.id)
        worker = start_worker(workshop, job.id)
        # Not at a quiet moment: the pump is in the middle of it.
        while workshop.num_events(job.id) < before + 200:
            assert worker.poll() is None
        worker.kill()
        worker.wait()
        wait_until(lambda: not any(map(is_alive, workshop.pids(job.id))))
        assert workshop.store.leases.release_worker("gpu-0") == (job.id,)
    workshop.let_go()
    assert workshop.run(job.id).status is Status.SUCCEEDED
    records = directory.progress.read_text().splitlines()
    written = [line for line in records if '"type":"step"' in line]
    # A kill right after a checkpoint, where a slow disk keeps the trainer, repeats no step.
    assert len(workshop.steps(job.id)) == len(written) >= 3000
    told = [line.line for line in workshop.history.logs(job.id, limit=20_000).items]
    on_disk = [line.split(" ", 2)[2] for line in directory.log.read_text().splitlines()]
    assert told == on_disk


def test_processes_that_outlived_their_supervisor_are_ended(workshop: Workshop) -> None:
    """Such as data loader processes, which don't ask to be killed with their parent."""
    job = workshop.new_job(max_steps=3)
    workshop.run_directory(job.id).path.mkdir(parents=True)
    mark = {TRAINER_MARK: str(workshop.run_directory(job.id).path)}
    stray = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "hangs.py"), str(workshop.settings.data_root)],
        env=environment(**mark),
    )
    assert workshop.settings.data_root is not None
    pid_file = workshop.settings.data_root / f"{stray.pid}.pid"
    wait_until(pid_file.exists)
    assert workshop.run(job.id).status is Status.SUCCEEDED
    assert stray.wait(10) == -signal.SIGKILL


def test_a_supervisor_that_is_killed_is_a_loss(workshop: Workshop) -> None:
    job = workshop.new_job(max_steps=9, save_steps=2)
    workshop.hold_after(5)

    def kill() -> None:
        workshop.wait_for_step(job.id, 5)
        (pid,) = workshop.pids(job.id)
        supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(supervisor, signal.SIGKILL)

    after = workshop.run_while(job.id, kill)
    assert after.status is Status.QUEUED
    assert not any(map(is_alive, workshop.pids(job.id)))
    workshop.let_go()
    started = time.time()
    assert workshop.run(job.id).status is Status.SUCCEEDED
    resumed = [e for e in workshop.history.events_since(job.id).items if e.created_at >= started]
    assert next(e.data["step"] for e in resumed if e.type == "metrics") == 5
