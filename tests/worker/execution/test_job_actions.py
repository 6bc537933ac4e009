"""What callers wish of a running job, and what becomes of it: a worker, a trainer, real files."""

import os
import sys
from pathlib import Path

from redis import Redis

from tests.worker.scenes import is_alive, queued_job, wait_until
from tests.worker.workshop import Workshop, open_workshop
from worker.jobs.job import Status
from worker.jobs.storage.lock import take_lock
from worker.jobs.store import keys


def test_a_paused_job_saves_frees_its_worker_and_goes_on_there(workshop: Workshop) -> None:
    job = workshop.new_job(max_steps=8, save_steps=100)
    workshop.hold_after(3)

    def pause() -> None:
        workshop.wait_for_step(job.id, 3)
        assert workshop.store.pause(job.id).is_pausing

    paused = workshop.run_while(job.id, pause)
    assert (paused.status, paused.worker, paused.attempt) == (Status.PAUSED, None, 0)
    assert workshop.run(job.id).status is Status.PAUSED, "a doorbell does not wake it"
    workshop.store.resume(job.id)
    done = workshop.run(job.id)
    assert done.status is Status.SUCCEEDED
    assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 6, 7, 8], "no step was repeated"


def test_a_pause_that_is_taken_back_too_late_puts_the_job_back_into_the_queue(
    workshop: Workshop,
) -> None:
    job = workshop.new_job(max_steps=8, save_steps=100)
    workshop.hold_after(3)

    def pause_and_resume() -> None:
        workshop.wait_for_step(job.id, 3)
        workshop.store.pause(job.id)
        pid = workshop.pids(job.id)[0]
        wait_until(lambda: not is_alive(pid), what="the end of the trainer")
        # The worker may be faster; then the job is resumed from its pause.
        assert not workshop.store.resume(job.id).pause_requested

    assert workshop.run_while(job.id, pause_and_resume).status is Status.QUEUED
    assert workshop.run(job.id).status is Status.SUCCEEDED
    assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_cancellation_with_a_checkpoint_keeps_what_was_trained(workshop: Workshop) -> None:
    job = workshop.new_job(max_steps=8, save_steps=100)
    workshop.hold_after(3)

    def cancel() -> None:
        workshop.wait_for_step(job.id, 3)
        workshop.store.cancel(job.id, with_checkpoint=True)

    assert workshop.run_while(job.id, cancel).status is Status.CANCELLED
    checkpoints = workshop.history.checkpoints(job.id).items
    assert [checkpoint.step for checkpoint in checkpoints] == [3]
    resumed = workshop.store.resume(job.id)
    assert (resumed.status, resumed.cancel_requested) == (Status.QUEUED, None)
    assert workshop.run(job.id).status is Status.SUCCEEDED
    assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_job_that_used_up_its_time_is_saved_and_failed_and_can_be_resumed(
    workshop: Workshop,
) -> None:
    parameters = {"max_steps": 8, "save_steps": 100}
    job = queued_job(
        workshop.store, training_file="data.json", hyperparameters=parameters, max_run_seconds=1
    )
    workshop.hold_after(3)
    failed = workshop.run(job.id)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert (failed.error.code, failed.error.param) == ("timeout", "max_run_seconds")
    assert failed.run_seconds >= 1
    workshop.let_go()
    assert workshop.store.resume(job.id).run_seconds == 0
    assert workshop.run(job.id).status is Status.SUCCEEDED


def sick_workshop(workshop: Workshop, directory: Path) -> Workshop:
    """A worker whose probe fails as long as the file `sick` is there."""
    probe = directory / "probe.py"
    sick = directory / "sick"
    probe.write_text(
        f"import os, sys\nif os.path.exists({str(sick)!r}):\n    sys.exit('slot ' + sys.argv[1])\n"
    )
    directory.joinpath("other").mkdir()
    return open_workshop(
        workshop.settings.redis_url,
        directory / "other",
        probe_command=f"{sys.executable} {probe}",
        slots="cpu-a,cpu-b",
    )


def test_a_sick_worker_takes_no_jobs_until_it_is_well(
    workshop: Workshop, redis: Redis, tmp_path: Path
) -> None:
    patient = sick_workshop(workshop, tmp_path)
    job = patient.new_job()
    (tmp_path / "sick").touch()
    assert patient.run(job.id).status is Status.QUEUED
    assert redis.hget(keys.worker("gpu-0"), "sick") == "slot cpu-a"
    (tmp_path / "sick").unlink()
    assert patient.run(job.id).status is Status.SUCCEEDED
    assert redis.hget(keys.worker("gpu-0"), "sick") is None


def test_a_slot_that_another_worker_holds_is_not_used(workshop: Workshop, tmp_path: Path) -> None:
    other = sick_workshop(workshop, tmp_path)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    slots = other.settings.home_directories.slots / boot_id
    lock = take_lock(slots / "cpu-a.lock", patience_seconds=0)
    two = queued_job(other.store, training_file="data.json", hyperparameters={"num_gpus": 2}).id
    assert other.run(two).status is Status.QUEUED
    one = other.new_job().id
    other.run(one)
    assert other.store.get(one).status is Status.SUCCEEDED
    assert other.store.get(two).status is Status.QUEUED
    os.close(lock)
    assert other.run(two).status is Status.SUCCEEDED
