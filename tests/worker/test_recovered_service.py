"""A store that is lost under running workers and controllers."""

from redis import Redis

from tests.worker.programs_started import Start, submit, wait_for_status
from tests.worker.scenes import is_alive, wait_until
from tests.worker.workshop import Workshop
from worker.execution.records import write_result
from worker.jobs.job import Status, model_id
from worker.jobs.rules import QueuePolicy
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.store import keys
from worker.jobs.store.recovery import Recovery, RecoveryRequests
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Succeeded


def recovered(desk: RecoveryRequests) -> Recovery:
    def is_done() -> bool:
        state = desk.state()
        return state is not None and state.status == "done"

    wait_until(is_done, seconds=60, what="the recovery")
    done = desk.state()
    assert done is not None
    return done


def test_a_store_that_is_lost_in_the_middle_of_a_run_is_recovered_and_the_run_finished(
    workshop: Workshop, start: Start, redis: Redis
) -> None:
    start("controller_with_checks.py")
    start("worker_with_trains.py")
    job_records = JobRecordStore(workshop.settings.home_directories)
    ended, running, waiting = (submit(workshop, max_steps=6, save_steps=4) for _ in range(3))
    for job in (ended, running, waiting):
        job_records.write(job)
    wait_for_status(workshop, ended, Status.SUCCEEDED)
    workshop.hold_after(5)
    workshop.wait_for_step(running.id, 5)
    models = workshop.store.models.all()
    (pid,) = workshop.pids(running.id)

    redis.flushall()
    desk = RecoveryRequests(Scripts(redis, QueuePolicy()))
    desk.request()

    assert recovered(desk).num_found == 3
    assert workshop.store.get(ended.id).status is Status.SUCCEEDED
    assert workshop.store.models.all() == models
    wait_until(lambda: not is_alive(pid), what="the end of the trainer of the old store")
    workshop.let_go()
    for job in (running, waiting):
        wait_for_status(workshop, job, Status.SUCCEEDED)
    assert workshop.steps(running.id) == [1, 2, 3, 4, 5, 5, 6]
    assert workshop.steps(waiting.id) == [1, 2, 3, 4, 5, 6]


def test_a_controller_that_is_killed_while_it_recovers_is_followed_by_the_next(
    workshop: Workshop, start: Start, redis: Redis
) -> None:
    short = {
        "FLANT5_LEASE_SECONDS": "2",
        "FLANT5_SELF_FENCE_SECONDS": "0.2",
        "FLANT5_REDIS_TIMEOUT_SECONDS": "0.1",
    }
    job_records, jobs = JobRecordStore(workshop.settings.home_directories), []
    for _ in range(100):
        job = submit(workshop)
        job_records.write(job)
        model = Succeeded(model_id(job.id, job.spec))
        write_result(workshop.run_directory(job.id).result, model, epoch=1)
        workshop.run_directory(job.id).log.write_text("a line of the log\n" * 3000)
        jobs.append(job)
    redis.flushall()
    desk = RecoveryRequests(Scripts(redis, QueuePolicy()))
    desk.request()
    controller = start("controller_with_checks.py", **short)
    wait_until(lambda: redis.zcard(keys.JOBS) >= 10, what="ten jobs are back")
    controller.kill()
    controller.wait()
    assert redis.zcard(keys.JOBS) < 100
    start("controller_with_checks.py", **short)
    start("worker_with_trains.py", **short)
    report = recovered(desk)
    assert (report.num_found, report.problems) == (100, ())
    for job in jobs:
        wait_for_status(workshop, job, Status.SUCCEEDED)
        assert workshop.history.logs(job.id, tail=1).items[0].seq == 3000
    assert len(workshop.store.models.all()) == 100
