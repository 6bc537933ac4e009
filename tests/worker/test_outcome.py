"""What an attempt left behind, and what is made of it."""

from pathlib import Path

import pytest

from flant5_train.failure import Failure, FailureCode
from flant5_train.progress import ModelSaved, PhaseChange, ProgressLog, Record, Stopped
from tests.worker.scenes import spec
from worker.jobs.home import RunDirectory
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.life import Status
from worker.jobs.update import Failed, Succeeded
from worker.outcome import Interrupted, Start, judge, last_record

BEGIN = Start(progress=0, log=0)
JOB = Job(id="ftjob-abcdefgh", spec=spec(), status=Status.RUNNING, created_at=0)
MODEL = ModelSaved(path="/m", step=9, train_loss=0.5, tokens_seen=9)
STOPPED = Stopped(step=4, path="/c")
HEAD = "2026-11-24T03:52:10.317Z stderr "


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def report(directory: RunDirectory, *records: Record) -> None:
    log = ProgressLog(directory.progress)
    for record in records:
        log.append(record)
    log.close()


def fail(directory: RunDirectory, code: FailureCode, message: str = "why") -> None:
    Failure(code=code, message=message, param="bf16").write_first(directory.failure)


def test_a_model_is_success_whatever_else_is_there(directory: RunDirectory) -> None:
    report(directory, PhaseChange(phase="saving"), MODEL)
    fail(directory, FailureCode.INTERNAL)
    directory.log.write_text(HEAD + "exitcode  : -9 (pid: 1)\n")
    assert judge(JOB, directory, BEGIN) == Succeeded(model_id(JOB.id, JOB.spec))


def test_only_this_attempts_part_of_the_files_counts(directory: RunDirectory) -> None:
    report(directory, STOPPED)
    directory.log.write_text(HEAD + "exitcode  : -9 (pid: 1)\n")
    start = Start.of(directory)
    assert isinstance(judge(JOB, directory, start), Interrupted)
    assert judge(JOB, directory, start) == Interrupted("the trainer ended without a word")
    fail(directory, FailureCode.INTERNAL)
    assert isinstance(judge(JOB, directory, start), Failed)


@pytest.mark.parametrize("code", [FailureCode.CUDA_OOM, FailureCode.NAN_LOSS, FailureCode.INTERNAL])
def test_a_failure_of_the_job_is_told_as_it_is(directory: RunDirectory, code: FailureCode) -> None:
    fail(directory, code)
    assert judge(JOB, directory, BEGIN) == Failed(
        JobError(code=code.value, message="why", param="bf16")
    )


@pytest.mark.parametrize("code", [FailureCode.KILLED, FailureCode.WORKER_LOST])
def test_what_is_not_the_jobs_fault_is_tried_again(
    directory: RunDirectory, code: FailureCode
) -> None:
    fail(directory, code, "a signal came")
    assert judge(JOB, directory, BEGIN) == Interrupted("a signal came")


def test_a_clear_failure_counts_although_other_ranks_were_killed_after_it(
    directory: RunDirectory,
) -> None:
    fail(directory, FailureCode.CUDA_OOM)
    directory.log.write_text(HEAD + "  exitcode  : -9 (pid: 4711)\n")
    assert isinstance(judge(JOB, directory, BEGIN), Failed)


def test_an_error_file_that_is_none_is_an_internal_failure(directory: RunDirectory) -> None:
    directory.failure.write_text("{")
    outcome = judge(JOB, directory, BEGIN)
    assert isinstance(outcome, Failed)
    assert "error.json is malformed" in outcome.error.message


def test_a_trainer_that_was_stopped_by_somebody_else_is_interrupted(
    directory: RunDirectory,
) -> None:
    report(directory, STOPPED)
    assert judge(JOB, directory, BEGIN) == Interrupted("the trainer was told to stop, at step 4")


def test_torchruns_own_error_file_gives_the_reason(directory: RunDirectory) -> None:
    directory.torch_error.write_text('{"message": {"message": "ValueError: x", "extraInfo": {}}}')
    directory.log.write_text(HEAD + "something else\n")
    assert judge(JOB, directory, BEGIN) == Interrupted("the trainer failed: ValueError: x")


@pytest.mark.parametrize("content", ["", "[]", '{"message": null}', "\x00"])
def test_a_broken_error_file_of_torchrun_is_no_reason(
    directory: RunDirectory, content: str
) -> None:
    directory.torch_error.write_text(content)
    directory.log.write_text("".join(f"{HEAD}line {number}\n" for number in range(9)))
    assert judge(JOB, directory, BEGIN) == Interrupted(
        "the trainer ended unexpectedly; its last lines: line 4 | line 5 | line 6 | line 7 | line 8"
    )


def test_a_cut_last_line_counts_as_not_written(directory: RunDirectory) -> None:
    report(directory, PhaseChange(phase="training"), MODEL)
    whole = directory.progress.read_bytes()
    directory.progress.write_bytes(whole[:-1])
    assert last_record(directory.progress, 0) == PhaseChange.model_validate_json(
        whole.splitlines()[0]
    )
    assert Start.of(directory).progress == len(whole.splitlines(keepends=True)[0])


def test_the_last_record_is_found_behind_much_that_is_none(directory: RunDirectory) -> None:
    report(directory, MODEL)
    with directory.progress.open("a") as file:
        file.write("no record\n" * 100)
    assert last_record(directory.progress, 0) == MODEL
    assert last_record(directory.path / "nothing", 0) is None
