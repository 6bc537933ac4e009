"""One attempt with a real supervisor and a trainer program."""

import json
import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.worker.scenes import is_alive, queued_job, wait_until
from tests.worker.workshop import Workshop, open_workshop
from worker.execution.records import read_result, write_result
from worker.jobs.job import JobError, Status, model_id
from worker.jobs.storage.files import FileStore
from worker.jobs.storage.run_files import result_file_id
from worker.jobs.store.serialization import Succeeded
from worker.processes.trainer_process import HELD_LOCKS, TRAINER_MARK, WORKER_PROCESS


def test_a_job_is_trained_to_its_model(workshop: Workshop) -> None:
    job = workshop.run(workshop.new_job(max_steps=6, save_steps=4).id)
    assert (job.status, job.attempt, job.error) == (Status.SUCCEEDED, 1, None)
    assert job.fine_tuned_model == model_id(job.id, job.spec)
    assert job.progress is not None
    assert (job.progress.step, job.progress.max_steps, job.progress.percent) == (6, 6, 100)
    assert job.trained_tokens == 600
    assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 6]
    assert [item.path for item in workshop.history.checkpoints(job.id).items] == [
        "output/checkpoint-4"
    ]
    assert workshop.store.models.job_of(job.fine_tuned_model) == job.id


def test_the_numbers_of_a_job_that_succeeded_are_a_file(workshop: Workshop) -> None:
    job = workshop.run(workshop.new_job(max_steps=3).id)
    files = FileStore(workshop.settings.home_directories, None)
    (file,) = files.all()
    assert (file.id, file.purpose) == (result_file_id(job), "fine-tune-results")
    rows = files.content_path(file.id).read_text().splitlines()
    assert rows[0].startswith("step,epoch,train_loss,")
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3"]


def test_a_job_whose_numbers_can_not_be_kept_succeeds_all_the_same(workshop: Workshop) -> None:
    # A file where the directory of all files should be.
    files = workshop.settings.home_directories.files
    files.parent.mkdir(exist_ok=True)
    files.write_text("")
    assert workshop.run(workshop.new_job(max_steps=3).id).status is Status.SUCCEEDED


def test_the_events_tell_the_story_in_plain_words(workshop: Workshop) -> None:
    job = workshop.run(workshop.new_job(max_steps=2, save_steps=1).id)
    assert workshop.messages(job.id) == [
        "Job created; its files are being checked",
        "Files checked; job queued",
        "Attempt 1 started on worker gpu-0",
        "Training",
        "Training starts: 2 steps over 8 pairs, processes: 1",
        "Step 1/2: training loss=1.00",
        "Checkpoint saved at step 1",
        "Step 2/2: training loss=0.50",
        "Checkpoint saved at step 2",
        "Model saved after 2 steps, training loss=0.50",
        f"Job succeeded; the model is {job.fine_tuned_model}",
    ]
    step = workshop.history.events_since(job.id).items[5]
    assert step.data["learning_rate"] == 1e-4
    assert step.data["tokens_per_second"] == 50


def test_the_end_of_the_log_is_there_when_the_job_ends(workshop: Workshop) -> None:
    job = workshop.run(workshop.new_job(max_steps=200).id)
    lines = workshop.history.logs(job.id, limit=1000).items
    assert lines[-1].line == "the last line of the log"
    assert [line.seq for line in lines] == list(range(1, 202))
    written = workshop.run_directory(job.id).log.read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in written] == [line.line for line in lines]


def test_the_trainer_is_told_where_everything_is(workshop: Workshop) -> None:
    job = workshop.run(workshop.new_job().id)
    told = json.loads(workshop.run_directory(job.id).run_config.read_text())
    home = workshop.settings.home_directories
    assert told["data_path"] == str(workshop.data)
    assert told["model_name_or_path"] == "flant5-demo"
    assert told["output_dir"] == str(home.run_directory(job.id).output)
    assert told["models_directory"] == str(home.models)
    assert told["max_steps"] == 6
    assert "num_gpus" not in told


def test_the_trainer_sees_no_secret_and_no_setting(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLANT5_REDIS_URL", "redis://:s3cret@127.0.0.1/0")
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("NCCL_DEBUG", "WARN")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    job = workshop.run(workshop.new_job().id, "writes_its_environment.py")
    path = workshop.run_directory(job.id).path / "environment.json"
    seen = json.loads(path.read_text())
    assert not any("s3cret" in value for value in seen.values())
    ours = {name for name in seen if name.startswith("FLANT5_")}
    assert ours == {WORKER_PROCESS, HELD_LOCKS, TRAINER_MARK}
    assert seen["NCCL_DEBUG"] == "WARN"
    assert seen["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert seen["GLOO_SOCKET_IFNAME"] == "lo", "gloo must not resolve the host's name"
    assert seen["OMP_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))
    assert seen["PYTHONUNBUFFERED"] == "1"


def test_a_proxys_password_reaches_the_trainer_and_no_log(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://jane:pw7@proxy.test:3128")
    job = workshop.run(workshop.new_job().id, "shows_its_proxy.py")
    assert job.error is not None
    shown = "can't connect to http://jane:[hidden]@proxy.test:3128"
    assert job.error.message == shown
    assert shown in workshop.run_directory(job.id).log.read_text()
    assert not any("pw7" in message for message in workshop.messages(job.id))


def test_a_failure_that_the_trainer_explains_is_the_jobs_error(workshop: Workshop) -> None:
    job = workshop.run(workshop.new_job().id, "fails_with_error_file.py")
    assert (job.status, job.attempt) == (Status.FAILED, 1)
    assert job.error == JobError(
        code="bad_data", message='record 3 (line 9): no "value"', param="training_file"
    )


def test_a_crash_without_a_reason_fails_with_its_last_words_and_can_be_resumed(
    workshop: Workshop,
) -> None:
    job = workshop.run(workshop.new_job().id, "crashes.py")
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.code == "internal"
    assert "ImportError: libcudart.so.12" in job.error.message
    workshop.store.resume(job.id)
    assert workshop.run(job.id).status is Status.SUCCEEDED, "the old result must not count"


def test_losses_that_never_end_fail_the_job(workshop: Workshop) -> None:
    job = workshop.new_job()
    for _ in range(workshop.settings.max_infra_retries):
        assert workshop.store.get(job.id).status is Status.QUEUED
        job = workshop.run(job.id, "loses_a_rank.py")
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.code == "killed"
    assert "5 attempts in a row were lost" in job.error.message


def test_a_killed_rank_is_a_loss_although_another_rank_complained_first(
    workshop: Workshop,
) -> None:
    job = workshop.run(workshop.new_job().id, "loses_a_rank.py")
    assert job.status is Status.QUEUED
    assert workshop.messages(job.id)[-1].endswith("was killed by signal 9 (SIGKILL)")
    again = workshop.run(job.id)
    assert again.status is Status.SUCCEEDED, "the old error.json must not count"


def test_a_line_that_is_no_record_is_reported_and_not_fatal(workshop: Workshop) -> None:
    job = workshop.run(workshop.new_job().id, "writes_a_broken_record.py")
    assert job.status is Status.SUCCEEDED
    warnings = [e for e in workshop.history.events(job.id).items if e.level == "warn"]
    assert [event.data for event in warnings] == [{"line": '{"type":"step","loss":"high"}'}]


def test_a_cancelled_job_is_dead_at_once_and_keeps_its_checkpoint(workshop: Workshop) -> None:
    job = workshop.new_job(max_steps=9, save_steps=2)
    workshop.hold_after(5)

    def cancel() -> None:
        workshop.wait_for_step(job.id, 5)
        workshop.store.cancel(job.id)

    after = workshop.run_while(job.id, cancel)
    assert (after.status, after.error) == (Status.CANCELLED, None)
    (pid,) = workshop.pids(job.id)
    assert not is_alive(pid)
    assert [item.step for item in workshop.history.checkpoints(job.id).items] == [4, 2]
    assert (workshop.run_directory(job.id).output / "checkpoint-4" / "complete").exists()


def test_a_worker_that_stops_gives_the_job_back_with_a_checkpoint(workshop: Workshop) -> None:
    job = workshop.new_job(max_steps=8)
    workshop.hold_after(3)

    def stop() -> None:
        workshop.wait_for_step(job.id, 3)
        workshop.stopping.set()

    waiting = workshop.run_while(job.id, stop)
    assert (waiting.status, waiting.attempt) == (Status.QUEUED, 0)
    assert workshop.messages(job.id)[-3:] == [
        "Checkpoint saved at step 3",
        "Training stopped at step 3 with a checkpoint",
        "Job queued again: the worker is shutting down",
    ]
    workshop.stopping.clear()
    assert workshop.run(job.id).status is Status.SUCCEEDED
    assert workshop.steps(job.id) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert "Training resumes after step 3 of 8 steps over 8 pairs, processes: 1" in (
        workshop.messages(job.id)
    )


def test_a_trainer_that_does_not_stop_with_its_worker_is_killed(
    redis_url: SecretStr, tmp_path: Path
) -> None:
    workshop = open_workshop(redis_url, tmp_path, trainer_grace_seconds=0.0)
    job = workshop.new_job()

    def stop() -> None:
        wait_until(lambda: len(workshop.pids(job.id)) == 1)
        workshop.stopping.set()

    waiting = workshop.run_while(job.id, stop, "never_stops.py")
    assert (waiting.status, waiting.attempt) == (Status.QUEUED, 0)
    assert not any(map(is_alive, workshop.pids(job.id)))


def test_a_worker_that_stops_takes_no_job(workshop: Workshop) -> None:
    job = workshop.new_job()
    workshop.stopping.set()
    assert workshop.run(job.id) == job


def test_a_second_doorbell_for_a_running_job_does_nothing(workshop: Workshop) -> None:
    job = workshop.new_job()
    claim = workshop.store.leases.claim(worker="gpu-1", num_slots=8, lease_seconds=60)
    assert claim is not None
    assert workshop.run(job.id) == claim.job
    assert not workshop.run_directory(job.id).path.exists()


def test_a_job_that_ended_on_disk_is_not_trained_again(workshop: Workshop) -> None:
    job = workshop.new_job()
    path = workshop.run_directory(job.id).result
    path.parent.mkdir(parents=True)
    write_result(path, Succeeded("ft:x"), epoch=1)
    after = workshop.run(job.id)
    assert (after.status, after.fine_tuned_model) == (Status.SUCCEEDED, "ft:x")
    assert workshop.pids(job.id) == []


def test_a_model_that_is_complete_is_not_trained_again(workshop: Workshop) -> None:
    """The worker was killed between the trainer's end and result.json."""
    job = workshop.run(workshop.new_job().id)
    again = workshop.new_job()
    directory = workshop.run_directory(again.id).path
    directory.mkdir()
    finished = workshop.run_directory(job.id).progress
    (directory / "progress.jsonl").write_bytes(finished.read_bytes())
    after = workshop.run(again.id)
    assert after.status is Status.SUCCEEDED
    assert workshop.pids(again.id) == []
    assert workshop.steps(again.id) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"training_file": "gone.json"}, "training_file", "bad_data"),
        ({"validation_file": "gone.json"}, "validation_file", "bad_data"),
        ({"model": "gone"}, "model", "bad_model"),
    ],
)
def test_an_input_that_was_deleted_since_fails_the_job(
    workshop: Workshop, change: dict[str, str], param: str, code: str
) -> None:
    job = queued_job(workshop.store, **({"training_file": "data.json"} | change))
    error = workshop.run(job.id).error
    assert error is not None
    assert (error.code, error.param) == (code, param)
    assert "gone" in error.message


def test_the_result_says_how_the_job_ended(workshop: Workshop) -> None:
    good = workshop.run(workshop.new_job().id)
    result = read_result(workshop.run_directory(good.id).result)
    assert result is not None
    assert result.outcome == Succeeded(str(good.fine_tuned_model))
    bad = workshop.run(workshop.new_job().id, "fails_with_error_file.py")
    result = read_result(workshop.run_directory(bad.id).result)
    assert result is not None
    assert result.error == bad.error
    assert read_result(Path("/nothing/here")) is None
