"""The supervisor with the real torchrun, whose words it and the judgement rely on."""

import os
from pathlib import Path

import pytest

from flant5_train.protocol.failure import FailureCode
from tests.worker.scenes import is_alive, read_pids, spec, wait_until
from tests.worker.workshop import PROGRAMS
from worker.failures.evidence import ProcessExit
from worker.failures.outcome import AttemptStart, Interrupted, classify_outcome
from worker.failures.retry import RetryPolicy
from worker.jobs.job import Job, Status
from worker.jobs.storage.lock import take_lock, take_lock_to_share
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.serialization import Failed, Succeeded
from worker.processes.trainer_process import (
    TRAINER_MARK,
    NodeSpec,
    TrainerCommand,
    TrainerProcess,
    torchrun_argv,
    trainer_environment,
)
from worker.settings import inherited_environment
from worker.slots.slot import Slot, SlotLocks

KILLED = "a training process was killed by signal"
ONE_RANK_ENDS = str(PROGRAMS / "one_rank_ends.py")


def outcome_of(
    directory: RunDirectory, *program: str, num_processes: int = 2, oom_kills: int = 0
) -> Succeeded | Failed | Interrupted:
    """The judgement over a program that took the trainer's place under torchrun."""
    argv = torchrun_argv(directory.run_config, NodeSpec(num_processes), 600)
    lock = take_lock(directory.lock, patience_seconds=0)
    trainer = TrainerProcess(
        TrainerCommand(
            argv=[*argv[: argv.index("flant5_train.train") - 1], *program],
            environment=trainer_environment(
                inherited_environment(), num_processes=num_processes, run_directory=directory
            ),
            log=directory.log,
            grace_seconds=600,
        ),
        held=(lock,),
    )
    try:
        assert trainer.has_ended_within(60), directory.log.read_text()
    finally:
        trainer.close()
        os.close(lock)
    job = Job(id="ftjob-1", spec=spec(), status=Status.RUNNING, created_at=0)
    end = ProcessExit(exit_code=trainer.exit_code, oom_kills=oom_kills)
    return classify_outcome(job, directory, AttemptStart(progress=0, log=0), end)


def failed(outcome: Succeeded | Failed | Interrupted) -> str:
    """The message of an internal failure."""
    assert isinstance(outcome, Failed)
    assert outcome.error.code == FailureCode.INTERNAL
    return outcome.error.message


@pytest.mark.parametrize(
    ("exit_code", "oom_kills", "outcome"),
    [
        (
            -9,
            0,
            Interrupted(f"{KILLED} 9 (SIGKILL)", FailureCode.KILLED, RetryPolicy.INFRA_FAILURE),
        ),
        (
            -9,
            1,
            Interrupted(
                f"{KILLED} 9 (SIGKILL): the machine ran out of memory",
                FailureCode.HOST_OOM,
                RetryPolicy.ONCE,
            ),
        ),
        (-11, 1, Interrupted(f"{KILLED} 11 (SIGSEGV)", FailureCode.KILLED, RetryPolicy.ONCE)),
        (-6, 0, Interrupted(f"{KILLED} 6 (SIGABRT)", FailureCode.KILLED, RetryPolicy.ONCE)),
    ],
)
def test_a_killed_rank_ends_the_others_although_they_would_wait_for_minutes(
    tmp_path: Path, exit_code: int, oom_kills: int, outcome: Interrupted
) -> None:
    directory = RunDirectory(tmp_path)
    program = (ONE_RANK_ENDS, str(tmp_path), str(exit_code))
    assert outcome_of(directory, *program, oom_kills=oom_kills) == outcome
    pids = read_pids(tmp_path)
    assert len(pids) == 2
    assert not any(map(is_alive, pids))


def test_the_ranks_are_marked_and_hold_the_slots_until_they_are_dead(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    locks = SlotLocks(tmp_path / "slots", worker_name="gpu-0")
    slots = (Slot("cpu-0"), Slot("cpu-1"))
    held = locks.take_free(slots)
    lock = take_lock_to_share(directory.lock, holder="gpu-0", patience_seconds=0)
    argv = torchrun_argv(directory.run_config, NodeSpec(2), 600)
    program = [str(PROGRAMS / "holds_locks.py"), str(tmp_path)]
    command = TrainerCommand(
        argv=[*argv[: argv.index("flant5_train.train") - 1], *program],
        environment=trainer_environment(
            inherited_environment(),
            num_processes=2,
            run_directory=directory,
            held_locks=(directory.lock, *held.paths),
            visible_devices=held.visible_devices,
        ),
        log=directory.log,
        grace_seconds=600,
    )
    trainer = TrainerProcess(command, held=(lock,))
    try:
        wait_until(lambda: len(read_pids(tmp_path)) == 2, seconds=60, what="both ranks")
        mark = f"{TRAINER_MARK}={directory.path}".encode()
        for pid in read_pids(tmp_path):
            assert mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        held.close()
        with locks.take_free(slots) as taken:
            assert taken.slots == ()
    finally:
        trainer.close()
        held.close()
        os.close(lock)
    with locks.take_free(slots) as taken:
        assert taken.slots == slots
    os.close(take_lock(directory.lock, patience_seconds=0))


def test_the_exit_code_of_the_rank_that_ended_first_is_told(tmp_path: Path) -> None:
    message = failed(outcome_of(RunDirectory(tmp_path), ONE_RANK_ENDS, str(tmp_path), "3"))
    assert message == "a training process ended with exit code 3 and wrote no output"


def test_a_trainer_that_can_not_even_start_leaves_the_end_of_its_traceback(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import os\nimport no_such_library\n")
    message = failed(outcome_of(RunDirectory(tmp_path), str(broken), num_processes=1))
    assert message.startswith("a training process ended with exit code 1; its last lines: ")
    assert message.endswith("ModuleNotFoundError: No module named 'no_such_library'")


def test_a_torchrun_that_fails_itself_is_told(tmp_path: Path) -> None:
    message = failed(outcome_of(RunDirectory(tmp_path), "--no-such-flag"))
    assert message.startswith("the trainer ended with exit code 2; its last lines: ")
    assert "run.py: error: the following arguments are required: training_script" in message


def test_a_torchrun_that_raises_is_told(tmp_path: Path) -> None:
    message = failed(outcome_of(RunDirectory(tmp_path), "--nproc-per-node", "gpus", "x.py"))
    assert message == "torchrun failed: ValueError: Unsupported nproc_per_node value: gpus"
