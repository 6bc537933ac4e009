"""Worker and controller as they are run, with a trainer program in the real trainer's place."""

import os
import signal
from itertools import pairwise
from pathlib import Path

from redis import Redis

from tests.worker.programs_started import Process, Start, submit, wait_for_status
from tests.worker.scenes import is_alive, wait_until
from tests.worker.workshop import Workshop
from worker.jobs.job import Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.notify import JobNotifier
from worker.jobs.store.redis import Scripts
from worker.jobs.store.workers import WorkerRegistry
from worker.processes.process_tree import descendants


def pool_process(worker: Process) -> int:
    """The Celery child that runs the attempt: the parent of the supervisor."""
    (child,) = (
        int(pid)
        for pid in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    )
    return child


def test_jobs_are_checked_queued_and_trained_one_after_the_other(
    workshop: Workshop, start: Start
) -> None:
    start("controller_with_checks.py")
    start("worker_with_trains.py")
    jobs = [submit(workshop, max_steps=5) for _ in range(3)]
    ended = [wait_for_status(workshop, job, Status.SUCCEEDED) for job in jobs]
    assert [workshop.steps(job.id) for job in jobs] == [[1, 2, 3, 4, 5]] * 3
    intervals = sorted((job.started_at or 0, job.finished_at or 0) for job in ended)
    assert all(first[1] <= second[0] for first, second in pairwise(intervals))


def test_a_worker_that_is_stopped_saves_and_the_next_one_goes_on_there(
    workshop: Workshop, start: Start
) -> None:
    start("controller_with_checks.py")
    first = start("worker_with_trains.py")
    job = submit(workshop, max_steps=8, save_steps=100)
    workshop.hold_after(5)
    workshop.wait_for_step(job.id, 5)
    tree = descendants(first.pid)
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    assert not any(map(is_alive, tree))
    given_back = workshop.store.get(job.id)
    assert (given_back.status, given_back.attempt) == (Status.QUEUED, 0)
    workshop.let_go()
    start("worker_with_trains.py", FLANT5_WORKER_NAME="gpu-1")
    wait_for_status(workshop, job, Status.SUCCEEDED)
    assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_killed_pool_process_leaves_nothing_and_the_same_worker_tries_again(
    workshop: Workshop, start: Start
) -> None:
    start("controller_with_checks.py")
    worker = start("worker_with_trains.py")
    job = submit(workshop, max_steps=6, save_steps=2)
    workshop.hold_after(5)
    workshop.wait_for_step(job.id, 5)
    child = pool_process(worker)
    tree = descendants(child)
    assert len(tree) >= 2
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, tree)), seconds=20, what="the tree ends")
    workshop.let_go()
    ended = wait_for_status(workshop, job, Status.SUCCEEDED)
    assert (ended.attempt, worker.poll()) == (2, None)
    assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 5, 6]
    assert any("its worker failed" in message for message in workshop.messages(job.id))


def test_a_killed_worker_finds_its_job_again_when_it_is_restarted(
    workshop: Workshop, start: Start
) -> None:
    start("controller_with_checks.py")
    worker = start("worker_with_trains.py")
    job = submit(workshop, max_steps=6, save_steps=2)
    workshop.hold_after(5)
    workshop.wait_for_step(job.id, 5)
    tree = descendants(worker.pid)
    worker.kill()
    worker.wait()
    wait_until(lambda: not any(map(is_alive, tree)), seconds=20, what="the tree ends")
    workshop.let_go()
    start("worker_with_trains.py")
    wait_for_status(workshop, job, Status.SUCCEEDED)
    assert "Job queued again: its worker was restarted (gpu-0)" in workshop.messages(job.id)


def test_a_worker_that_cannot_run_a_job_says_why_and_goes_on_with_the_next(
    workshop: Workshop, start: Start
) -> None:
    start("controller_with_checks.py")
    bad = submit(workshop, max_steps=3)
    directory = workshop.run_directory(bad.id).path
    directory.parent.mkdir(parents=True)
    directory.write_text("a file where the run directory should be")
    start("worker_with_trains.py")
    good = submit(workshop, max_steps=3)
    error = wait_for_status(workshop, bad, Status.FAILED).error
    assert error is not None
    assert error.code == "worker_lost"
    assert "File exists" in error.message
    wait_for_status(workshop, good, Status.SUCCEEDED)


def test_two_doorbells_for_one_job_run_it_once(workshop: Workshop, start: Start) -> None:
    start("worker_with_trains.py")
    start("worker_with_trains.py", FLANT5_WORKER_NAME="gpu-1")
    job = submit(workshop, max_steps=5)
    workshop.store.accept(job.id)
    notifier = JobNotifier(workshop.settings.redis_url)
    for _ in range(4):
        assert notifier.notify(job.id)
    notifier.close()
    ended = wait_for_status(workshop, job, Status.SUCCEEDED)
    assert (ended.attempt, len(workshop.pids(job.id))) == (1, 1)


def test_a_second_worker_of_the_same_name_is_refused(workshop: Workshop, start: Start) -> None:
    first = start("worker_with_trains.py")
    lock = workshop.settings.home_directories.workers / "gpu-0.lock"
    wait_until(lock.exists)
    second = start("worker_with_trains.py")
    assert second.wait(30) == 1
    assert first.poll() is None


def test_a_controller_ends_when_it_is_told_to(workshop: Workshop, start: Start) -> None:
    controller = start("controller_with_checks.py")
    job = submit(workshop, max_steps=1)
    wait_for_status(workshop, job, Status.QUEUED)
    controller.send_signal(signal.SIGTERM)
    assert controller.wait(30) == 0


def test_a_worker_whose_loop_is_stuck_counts_as_gone(
    workshop: Workshop, redis: Redis, start: Start
) -> None:
    registry = WorkerRegistry(Scripts(redis, QueuePolicy()))
    worker = start("worker_with_trains.py", FLANT5_WORKER_TTL_SECONDS="1")
    wait_until(registry.all)
    worker.send_signal(signal.SIGSTOP)
    wait_until(lambda: not registry.all())
    worker.send_signal(signal.SIGCONT)
    wait_until(registry.all)
