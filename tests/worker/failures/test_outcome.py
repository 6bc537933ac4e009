"""What an attempt left behind, and what is made of it."""

from pathlib import Path

import pytest

from flant5_train.protocol.failure import Failure, FailureCode
from flant5_train.protocol.progress import ModelSaved, PhaseChange, Record, Stopped
from flant5_train.training.progress_log import ProgressLog
from tests.small_disk import fill, small_disk
from tests.worker.scenes import spec
from worker.failures.evidence import ProcessExit
from worker.failures.outcome import AttemptStart, Interrupted, classify_outcome, last_record
from worker.failures.retry import RetryPolicy
from worker.jobs.job import Job, JobError, Status, model_id
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.serialization import Failed, Succeeded

BEGIN = AttemptStart(progress=0, log=0)
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


def summary(*ends: tuple[int, int]) -> str:
    """torchrun's of these (rank, exit code), the first observed failure first."""
    root, *others = (
        f"{HEAD}  rank      : {rank} (local_rank: {rank})\n{HEAD}  exitcode  : {code} (pid: 1)\n"
        for rank, code in ends
    )
    begin = f"{HEAD}E1124 api.py:1002] failed (exitcode: 1) local_rank: 0 (pid: 1) of binary: x\n"
    return begin + "".join(others) + f"{HEAD}Root Cause (first observed failure):\n" + root


def code_of(outcome: Succeeded | Failed | Interrupted) -> str:
    assert not isinstance(outcome, Succeeded)
    return outcome.error.code if isinstance(outcome, Failed) else outcome.code.value


def test_a_model_is_success_whatever_else_is_there(directory: RunDirectory) -> None:
    report(directory, PhaseChange(phase="saving"), MODEL)
    fail(directory, FailureCode.INTERNAL)
    directory.log.write_text(summary((0, -9)))
    assert classify_outcome(JOB, directory, BEGIN) == Succeeded(model_id(JOB.id, JOB.spec))


def test_only_this_attempts_part_of_the_files_counts(directory: RunDirectory) -> None:
    report(directory, STOPPED)
    directory.log.write_text(summary((0, -11)))
    start = AttemptStart.of(directory)
    assert classify_outcome(JOB, directory, start) == Interrupted(
        "the trainer ended unexpectedly without any output"
    )
    fail(directory, FailureCode.INTERNAL)
    assert isinstance(classify_outcome(JOB, directory, start), Failed)


@pytest.mark.parametrize("code", [FailureCode.CUDA_OOM, FailureCode.NAN_LOSS, FailureCode.INTERNAL])
def test_a_failure_of_the_job_is_told_as_it_is(directory: RunDirectory, code: FailureCode) -> None:
    fail(directory, code)
    assert classify_outcome(JOB, directory, BEGIN) == Failed(
        JobError(code=code.value, message="why", param="bf16")
    )


@pytest.mark.parametrize("code", [FailureCode.KILLED, FailureCode.WORKER_LOST])
def test_what_is_not_the_jobs_fault_is_tried_again(
    directory: RunDirectory, code: FailureCode
) -> None:
    fail(directory, code, "a signal came")
    assert classify_outcome(JOB, directory, BEGIN) == Interrupted(
        "a signal came", code, RetryPolicy.INFRA_FAILURE
    )


def test_a_clear_failure_counts_although_other_ranks_were_killed_after_it(
    directory: RunDirectory,
) -> None:
    fail(directory, FailureCode.CUDA_OOM)
    directory.log.write_text(summary((1, -9)))
    assert code_of(classify_outcome(JOB, directory, BEGIN, ProcessExit(oom_kills=1))) == "cuda_oom"


def test_an_error_file_that_is_none_is_an_internal_failure(directory: RunDirectory) -> None:
    directory.failure.write_text("{")
    outcome = classify_outcome(JOB, directory, BEGIN)
    assert isinstance(outcome, Failed)
    assert "error.json is malformed" in outcome.error.message


def test_a_trainer_that_was_stopped_by_somebody_else_is_interrupted(
    directory: RunDirectory,
) -> None:
    report(directory, STOPPED)
    assert classify_outcome(JOB, directory, BEGIN) == Interrupted(
        "the trainer received SIGTERM at step 4", FailureCode.KILLED, RetryPolicy.INFRA_FAILURE
    )


def test_torchruns_own_error_file_gives_the_reason(directory: RunDirectory) -> None:
    directory.torch_error.write_text('{"message": {"message": "ValueError: x", "extraInfo": {}}}')
    directory.log.write_text(HEAD + "something else\n")
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1))
    assert isinstance(outcome, Failed)
    assert outcome.error == JobError(code="internal", message="torchrun failed: ValueError: x")


def test_a_torchrun_that_was_told_to_stop_is_interrupted(directory: RunDirectory) -> None:
    directory.torch_error.write_text(
        '{"message": {"message": "SignalException: Process 7 got signal: 15"}}'
    )
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1))
    assert isinstance(outcome, Interrupted)
    assert (outcome.code, outcome.retry) == (FailureCode.KILLED, RetryPolicy.INFRA_FAILURE)


def test_two_launchers_that_took_one_port_try_again(directory: RunDirectory) -> None:
    directory.torch_error.write_text(
        '{"message": {"message": "DistNetworkError: port: 29500, EADDRINUSE"}}'
    )
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1))
    assert isinstance(outcome, Interrupted)
    assert (outcome.code, outcome.retry) == (FailureCode.WORKER_LOST, RetryPolicy.INFRA_FAILURE)


@pytest.mark.parametrize("content", ["", "[]", '{"message": null}', "\x00"])
def test_a_broken_error_file_of_torchrun_is_no_reason(
    directory: RunDirectory, content: str
) -> None:
    directory.torch_error.write_text(content)
    directory.log.write_text("".join(f"{HEAD}line {number}\n" for number in range(9)))
    assert classify_outcome(JOB, directory, BEGIN) == Interrupted(
        "the trainer ended unexpectedly; its last lines: line 4 | line 5 | line 6 | line 7 | line 8"
    )


def test_an_exception_counts_although_the_other_ranks_were_killed_for_it(
    directory: RunDirectory,
) -> None:
    fail(directory, FailureCode.INTERNAL, "KeyError: 'x'")
    directory.log.write_text(summary((0, 1), (1, -9)))
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1, oom_kills=1))
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "KeyError: 'x'"


def test_the_rank_that_was_killed_counts_and_not_the_one_that_missed_it(
    directory: RunDirectory,
) -> None:
    fail(directory, FailureCode.INTERNAL, "a strange consequence")
    directory.log.write_text(summary((1, -9), (0, 1)))
    assert classify_outcome(JOB, directory, BEGIN) == Interrupted(
        "a training process was killed by signal 9 (SIGKILL)",
        FailureCode.KILLED,
        RetryPolicy.INFRA_FAILURE,
    )


@pytest.mark.parametrize("ends", [[(1, -9), (0, 1)], [(0, 1), (1, -9)]])
def test_want_of_memory_is_the_reason_whichever_rank_ended_first(
    directory: RunDirectory, ends: list[tuple[int, int]]
) -> None:
    fail(directory, FailureCode.WORKER_LOST, "Connection closed by peer")
    directory.log.write_text(summary(*ends))
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1, oom_kills=1))
    assert isinstance(outcome, Interrupted)
    assert (outcome.code, outcome.retry) == (FailureCode.HOST_OOM, RetryPolicy.ONCE)
    assert code_of(classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1))) != "host_oom"


def test_an_exit_code_of_its_own_counts_and_not_the_rank_that_missed_it(
    directory: RunDirectory,
) -> None:
    fail(directory, FailureCode.WORKER_LOST, "Connection closed by peer")
    directory.log.write_text(summary((1, 3), (0, -15)))
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1))
    assert isinstance(outcome, Failed)
    assert outcome.error == JobError(
        code="internal", message="a training process ended with exit code 3"
    )


def test_a_crash_while_a_failed_rank_ends_does_not_hide_its_failure(
    directory: RunDirectory,
) -> None:
    fail(directory, FailureCode.INTERNAL, "KeyError: 'x'")
    directory.log.write_text(summary((0, -11)))
    assert code_of(classify_outcome(JOB, directory, BEGIN)) == "internal"


def test_an_abort_for_a_broken_gpu_is_the_machines_fault(directory: RunDirectory) -> None:
    words = HEAD + "CUDA error: uncorrectable ECC error encountered\n"
    directory.log.write_text(words + summary((0, -6)))
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1))
    assert isinstance(outcome, Interrupted)
    assert (outcome.code, outcome.retry) == (FailureCode.WORKER_LOST, RetryPolicy.INFRA_FAILURE)
    assert "uncorrectable ECC error" in outcome.reason
    directory.log.write_text(HEAD + "Connection closed by peer\n" + summary((1, -6), (0, 1)))
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1))
    assert isinstance(outcome, Interrupted)
    assert (outcome.code, outcome.retry) == (FailureCode.KILLED, RetryPolicy.ONCE)


@pytest.mark.parametrize(
    ("exit_code", "code", "words"),
    [
        (-9, "worker_lost", "the supervisor was killed by signal 9 (SIGKILL)"),
        (70, "worker_lost", "the trainer lost its worker"),
        (137, "killed", "torchrun was killed by signal 9 (SIGKILL)"),
        (1, "internal", "the trainer ended with exit code 1 and wrote no output"),
        (0, "internal", "the trainer ended with exit code 0 and wrote no output"),
    ],
)
def test_without_any_other_trace_the_exit_code_counts(
    directory: RunDirectory, exit_code: int, code: str, words: str
) -> None:
    outcome = classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=exit_code))
    assert code_of(outcome) == code
    message = outcome.error.message if isinstance(outcome, Failed) else str(outcome)
    assert words in message


def test_a_cause_that_only_the_log_tells_is_found_there(directory: RunDirectory) -> None:
    words = HEAD + "OSError: [Errno 28] No space left on device\n"
    directory.log.write_text(words + summary((0, 1)))
    assert code_of(classify_outcome(JOB, directory, BEGIN, ProcessExit(exit_code=1))) == "disk_full"


def test_a_disk_too_full_for_any_trace_is_the_reason(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", num_bytes=1 << 20) as disk:
        fill(disk, leaving_bytes=4096)
        outcome = classify_outcome(JOB, RunDirectory(disk), BEGIN, ProcessExit(exit_code=1))
    assert code_of(outcome) == "disk_full"
    assert isinstance(outcome, Failed)
    assert "4096 bytes are free" in outcome.error.message


def test_a_cut_last_line_counts_as_not_written(directory: RunDirectory) -> None:
    report(directory, PhaseChange(phase="training"), MODEL)
    whole = directory.progress.read_bytes()
    directory.progress.write_bytes(whole[:-1])
    assert last_record(directory.progress, 0) == PhaseChange.model_validate_json(
        whole.splitlines()[0]
    )
    assert AttemptStart.of(directory).progress == len(whole.splitlines(keepends=True)[0])


def test_the_last_record_is_found_behind_much_that_is_none(directory: RunDirectory) -> None:
    report(directory, MODEL)
    with directory.progress.open("a") as file:
        file.write("no record\n" * 100)
    assert last_record(directory.progress, 0) == MODEL
    assert last_record(directory.path / "nothing", 0) is None
