"""Files that are not what they should be: a recovery names them, and the others come back."""

import json
import os

import pytest
from redis import Redis

from flant5_train.protocol.failure import FailureCode
from tests.worker.controller.lost_store import LosableStore, write_begun
from worker.execution.records import write_result
from worker.jobs.job import JobError, Status
from worker.jobs.storage.job_record import JobRecord
from worker.jobs.store import keys
from worker.jobs.store.serialization import Failed

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
    service: LosableStore, name: str, content: str, expected: str
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


def test_the_record_of_another_job_is_a_problem(service: LosableStore) -> None:
    job, other = service.create(), service.create()
    path = service.workshop.run_directory(job.id).job_record
    path.write_bytes(service.workshop.run_directory(other.id).job_record.read_bytes())
    service.lose_the_store()
    (problem,) = service.recover().problems
    assert f"found {other.id!r}; expected {job.id!r}" in problem.message


def test_a_damaged_line_of_progress_is_told_in_the_history(service: LosableStore) -> None:
    job = service.workshop.run(service.queued().id)
    with service.workshop.run_directory(job.id).progress.open("ab") as file:
        file.write(b"no record\n")
    service.lose_the_store()
    report = service.recover()
    assert report.problems == ()
    assert service.store.get(job.id).status is Status.SUCCEEDED
    assert any(
        "an invalid line in progress.jsonl" in message
        for message in service.workshop.messages(job.id)
    )


def test_history_that_cant_be_read_is_a_problem_and_the_job_is_back(service: LosableStore) -> None:
    job = service.queued()
    write_begun(service, job)
    service.workshop.run_directory(job.id).progress.mkdir()
    service.lose_the_store()
    report = service.recover()
    assert [each.status for each in report.restored] == [Status.QUEUED]
    assert "progress.jsonl" in report.problems[0].message


def test_a_job_that_the_store_cant_take_keeps_no_other_from_coming_back(
    service: LosableStore, redis: Redis
) -> None:
    first, odd, last = (service.create() for _ in range(3))
    service.lose_the_store()
    redis.set(keys.events(odd.id), "no stream")
    report = service.recover()
    assert [each.id for each in report.problems] == [odd.id]
    assert {first.id, last.id} <= {each.id for each in report.restored}


def test_files_that_are_no_run_directories_are_left_alone(service: LosableStore) -> None:
    service.create()
    jobs = service.workshop.settings.home_directories.jobs
    (jobs / "notes.txt").write_text("mine")
    (jobs / "ftjob-without-a-record").mkdir()
    service.lose_the_store()
    report = service.recover()
    assert (report.num_found, report.problems) == (1, ())


def test_an_old_result_without_its_time_ends_the_job_when_it_was_written(
    service: LosableStore,
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
