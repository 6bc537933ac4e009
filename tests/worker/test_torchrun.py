"""The supervisor with the real torchrun, whose words it and the judgement rely on."""

import os
from pathlib import Path

from tests.worker.scenes import is_alive, read_pids, spec, wait_until
from tests.worker.workshop import PROGRAMS
from worker.jobs.home import RunDirectory
from worker.jobs.job import Job
from worker.jobs.life import Status
from worker.launch import torchrun_argv, trainer_environment
from worker.lock import take_lock, take_lock_to_share
from worker.outcome import Interrupted, Start, judge
from worker.settings import inherited_environment
from worker.slot_locks import SlotLocks
from worker.slots import Slot
from worker.trainer_process import TrainerCommand, TrainerProcess


def test_a_killed_rank_ends_the_others_although_they_would_wait_for_minutes(
    tmp_path: Path,
) -> None:
    directory = RunDirectory(tmp_path)
    argv = torchrun_argv(directory.run_config, 2, grace_seconds=600)
    program = [str(PROGRAMS / "one_rank_is_killed.py"), str(tmp_path)]
    lock = take_lock(directory.lock, patience_seconds=0)
    trainer = TrainerProcess(
        TrainerCommand(
            argv=[*argv[: argv.index("flant5_train.train") - 1], *program],
            environment=trainer_environment(
                inherited_environment(), num_processes=2, run_directory=directory
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
    pids = read_pids(tmp_path)
    assert len(pids) == 2
    assert not any(map(is_alive, pids))
    job = Job(id="ftjob-1", spec=spec(), status=Status.RUNNING, created_at=0)
    assert judge(job, directory, Start(progress=0, log=0)) == Interrupted(
        "a training process was killed by signal 9"
    )


def test_the_ranks_hold_the_slots_until_they_are_dead(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    locks = SlotLocks(tmp_path / "slots", worker_name="gpu-0")
    slots = (Slot("cpu-0"), Slot("cpu-1"))
    held = locks.take_free(slots)
    lock = take_lock_to_share(directory.lock, holder="gpu-0", patience_seconds=0)
    argv = torchrun_argv(directory.run_config, 2, grace_seconds=600)
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
    trainer = TrainerProcess(command, held=lock)
    try:
        wait_until(lambda: len(read_pids(tmp_path)) == 2, seconds=60, what="both ranks")
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
