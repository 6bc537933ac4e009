"""The controller's rounds: files checked, doorbells rung, lost jobs brought back."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue, SecretStr
from redis import Redis

from flant5_train.protocol.failure import Failure, FailureCode
from tests.worker.programs.controller_with_checks import argv
from tests.worker.scenes import claimed_job, is_alive, queued_job, spec, wait_until
from tests.worker.workshop import Workshop, open_workshop
from worker.controller.controller import Controller
from worker.jobs.job import Job, Status
from worker.jobs.storage.files import FileStore, NewFile
from worker.jobs.store import keys
from worker.jobs.store.notify import num_notifications


@pytest.fixture
def workshop(redis_url: SecretStr, tmp_path: Path) -> Workshop:
    """A lease that has ended before the test begins to look."""
    return open_workshop(
        redis_url,
        tmp_path,
        lease_seconds=1.3,
        self_fence_seconds=0.1,
        redis_timeout_seconds=0.03,
        requeue_notify_seconds=30,
    )


@pytest.fixture
def controller(workshop: Workshop, redis: Redis) -> Iterator[Controller]:
    controller = Controller(workshop.settings, redis, argv=argv)
    yield controller
    controller.close()


def new_job(workshop: Workshop, **files: dict[str, JsonValue]) -> Job:
    """A job whose files tell the check what to say."""
    for param, script in files.items():
        workshop.data.with_name(f"{param}.json").write_text(json.dumps(script))
    return workshop.store.create(spec(**{param: f"{param}.json" for param in files}))


def validated(workshop: Workshop, controller: Controller, job: Job) -> Job:
    def is_validated() -> bool:
        controller.round()
        return workshop.store.get(job.id).status is not Status.VALIDATING_FILES

    wait_until(is_validated)
    return workshop.store.get(job.id)


def test_warnings_of_the_real_check_become_events_of_the_job(
    workshop: Workshop, redis: Redis
) -> None:
    answer = '{"role": "assistant", "content": "Hi"}'
    for name, mood in (("training.jsonl", ', "mood": 1'), ("validation.jsonl", "")):
        record = f'{{"messages": [{answer}]{mood}}}\n'
        workshop.data.with_name(name).write_text(record * 3)
    job = workshop.store.create(
        spec(training_file="training.jsonl", validation_file="validation.jsonl")
    )
    controller = Controller(workshop.settings, redis)
    try:
        assert validated(workshop, controller, job).status is Status.QUEUED
    finally:
        controller.close()
    events = workshop.history.events(job.id).items
    warnings = [event for event in reversed(events) if event.level == "warn"]
    assert [event.message.partition(": found")[0] for event in warnings] == [
        "training.jsonl: unknown field (3): record 1 (line 1), mood and record 2 (line 2), mood"
        " and 1 more places",
        "training.jsonl: answer without a question (3): record 1 (line 1), messages[0] and record 2"
        " (line 2), messages[0] and 1 more places",
        "validation.jsonl: answer without a question (3): record 1 (line 1), messages[0] and"
        " record 2 (line 2), messages[0] and 1 more places",
    ]
    assert [event.data["param"] for event in warnings] == [
        "training_file",
        "training_file",
        "validation_file",
    ]
    assert warnings[0].data["count"] == 3


def test_a_job_with_good_files_is_queued_and_its_doorbell_rung(
    workshop: Workshop, controller: Controller, redis: Redis
) -> None:
    job = new_job(workshop, training_file={}, validation_file={})
    assert validated(workshop, controller, job).status is Status.QUEUED
    assert num_notifications(redis) == 1
    controller.round()
    assert num_notifications(redis) == 1


def test_a_new_job_and_the_end_of_its_check_need_not_wait_for_a_round(
    redis_url: SecretStr, tmp_path: Path, redis: Redis
) -> None:
    workshop = open_workshop(redis_url, tmp_path, controller_interval_seconds=1000)
    controller = Controller(workshop.settings, redis, argv=argv)
    stop, telling = os.pipe()
    job = new_job(workshop, training_file={})
    for expected in (Status.VALIDATING_FILES, Status.QUEUED):
        assert not controller.wait(stop)
        controller.round()
        assert workshop.store.get(job.id).status is expected
    os.write(telling, b"x")
    assert controller.wait(stop)
    controller.close()
    os.close(stop)
    os.close(telling)


@pytest.mark.parametrize("bad", ["training_file", "validation_file"])
def test_a_job_with_a_bad_file_fails_with_the_place_and_the_reason(
    workshop: Workshop, controller: Controller, bad: str
) -> None:
    failure = Failure(code=FailureCode.BAD_DATA, message="data.json, record 3, line 9: no value")
    files: dict[str, dict[str, JsonValue]] = {"training_file": {}, "validation_file": {}}
    files[bad] = {"exit_code": 2, "stdout": failure.model_dump_json()}
    job = validated(workshop, controller, new_job(workshop, **files))
    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("bad_data", bad)
    assert job.error.message == "data.json, record 3, line 9: no value"


def test_an_uploaded_file_is_called_by_its_own_name(
    workshop: Workshop, controller: Controller
) -> None:
    failure = Failure(code=FailureCode.BAD_DATA, message="content: record 3: no value")
    script = {"exit_code": 2, "stdout": failure.model_dump_json()}
    files = FileStore(workshop.settings.home_directories, None)
    new = NewFile.called("math.json", purpose="fine-tune", owner="")
    stored = files.write(new, chunks=[json.dumps(script).encode()], max_bytes=9999)
    job = validated(workshop, controller, workshop.store.create(spec(training_file=stored.id)))
    assert job.error is not None
    assert job.error.message == "math.json: record 3: no value"


@pytest.mark.parametrize("printed", ["", "{}", '{"files": [{"mood": 1}]}', "\\ud83d"])
def test_a_check_without_a_report_is_a_warning_of_the_job(
    workshop: Workshop, controller: Controller, printed: str
) -> None:
    job = validated(workshop, controller, new_job(workshop, training_file={"stdout": printed}))
    assert job.status is Status.QUEUED
    events = workshop.history.events(job.id).items
    (warning,) = [event for event in events if event.level == "warn"]
    assert (
        "training_file.json: the check of training_file printed no JSON report" in warning.message
    )
    assert warning.data["param"] == "training_file"
    good = validated(workshop, controller, new_job(workshop, training_file={}))
    assert [each.level for each in workshop.history.events(good.id).items].count("warn") == 0


@pytest.mark.parametrize("exit_code", [1, 2, 137])
def test_a_check_that_breaks_fails_the_job_with_its_last_words(
    workshop: Workshop, controller: Controller, exit_code: int
) -> None:
    script: dict[str, JsonValue] = {"exit_code": exit_code, "stderr": "x" * 5000 + "MemoryError"}
    job = validated(workshop, controller, new_job(workshop, training_file=script))
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("internal", "training_file")
    assert f"exit code {exit_code}" in job.error.message
    assert job.error.message.endswith("MemoryError")
    assert len(job.error.message) < 1200


def test_a_check_that_hangs_is_ended_and_the_controller_goes_on(
    redis_url: SecretStr, redis: Redis, tmp_path: Path
) -> None:
    workshop = open_workshop(redis_url, tmp_path, file_check_timeout_seconds=0.5, max_checks=1)
    controller = Controller(workshop.settings, redis, argv=argv)
    job = validated(workshop, controller, new_job(workshop, training_file={"hangs": True}))
    assert job.error is not None
    assert job.error.code == "timeout"
    after = validated(workshop, controller, new_job(workshop, training_file={}))
    assert after.status is Status.QUEUED
    controller.close()


def test_checks_run_at_the_same_time_but_not_too_many(
    workshop: Workshop, controller: Controller
) -> None:
    jobs = [new_job(workshop, training_file={"hangs": True}) for _ in range(4)]
    controller.round()
    assert len(controller._validation._running) == 2
    workshop.store.cancel(jobs[0].id)
    controller.round()
    controller.round()
    assert set(controller._validation._running) == {jobs[1].id, jobs[2].id}


def test_a_controller_that_ends_takes_its_checks_with_it(
    workshop: Workshop, controller: Controller
) -> None:
    new_job(workshop, training_file={"hangs": True})
    controller.round()
    (running,) = controller._validation._running.values()
    pid = running.check._process.pid
    assert is_alive(pid)
    controller.close()
    assert not is_alive(pid)


def test_a_file_that_is_gone_fails_the_job(workshop: Workshop, controller: Controller) -> None:
    job = workshop.store.create(spec(training_file="gone.json"))
    failed = validated(workshop, controller, job)
    assert failed.error is not None
    assert failed.error.param == "training_file"
    assert "gone.json" in failed.error.message


def test_doorbells_do_not_pile_up_while_workers_are_busy(
    workshop: Workshop, controller: Controller, redis: Redis
) -> None:
    job = queued_job(workshop.store)
    for _ in range(3):
        controller.round()
        redis.zadd(keys.PENDING_NOTIFICATIONS, {job.id: (time.time() - 31) * 1000}, xx=True)
    assert num_notifications(redis) == 1
    redis.zadd(keys.PENDING_NOTIFICATIONS, {job.id: (time.time() - 601) * 1000}, xx=True)
    controller.round()
    assert num_notifications(redis) == 2


def test_a_doorbell_that_was_lost_is_rung_again(
    workshop: Workshop, controller: Controller, redis: Redis
) -> None:
    job = queued_job(workshop.store)
    controller.round()
    redis.delete(keys.NOTIFICATIONS)
    controller.round()
    assert num_notifications(redis) == 0
    redis.zadd(keys.PENDING_NOTIFICATIONS, {job.id: (time.time() - 31) * 1000}, xx=True)
    controller.round()
    assert num_notifications(redis) == 1


def test_a_job_whose_worker_vanished_is_brought_back(
    workshop: Workshop, controller: Controller, redis: Redis
) -> None:
    claim = claimed_job(workshop.store)
    redis.zadd(keys.RUNNING, {claim.job.id: 1})

    def is_back() -> bool:
        controller.round()
        return workshop.store.get(claim.job.id).status is Status.QUEUED

    wait_until(is_back)


def test_a_controller_that_just_started_gives_workers_the_time_of_a_lease(
    workshop: Workshop, controller: Controller, redis: Redis
) -> None:
    claim = claimed_job(workshop.store)
    redis.zadd(keys.RUNNING, {claim.job.id: 1})
    # The server has been up for a lease, the controller has not.
    wait_until(lambda: redis.info("server")["uptime_in_seconds"] > 2)
    controller._started_at = time.monotonic() + 60
    controller.round()
    assert workshop.store.get(claim.job.id).status is Status.RUNNING
    controller._started_at = time.monotonic() - 60
    controller.round()
    assert workshop.store.get(claim.job.id).status is Status.QUEUED
