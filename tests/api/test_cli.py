"""The command line against a real server; the test plays the worker."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from redis import Redis

from api.app import create_app
from api.keys import KeyRing
from api.settings import ApiSettings
from tests.api.cli_runs import FLANT5, environment, flant5, line_of, started
from tests.api.scenes import CONVERSATIONS, claim_new_job, make_job, wait_until
from worker.jobs.job import JobError, Progress
from worker.jobs.store import JobStore
from worker.jobs.update import Beat, Claim, Failed, NewEvent, NewLogLine, Succeeded, Update
from worker.jobs.workers import WorkerRegistry, WorkerState

SUCCEEDED = Succeeded("ft:flant5-demo:flant5::abcdefgh")
STEP: dict[str, Any] = {
    "step": 12,
    "max_steps": 75,
    "loss": 3.21,
    "tokens_per_second": 812.0,
    "eta_seconds": 65.0,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "my chats.json"
    path.write_bytes(CONVERSATIONS)
    return path


def test_submit_uploads_and_submits_with_typed_hyperparameters(
    server_url: str, store: JobStore, data: Path
) -> None:
    run = flant5(
        *("submit", data, "--validation", data, "--suffix", "math", "--seed", "7", "--json"),
        *("--priority", "-5", "--max-run-seconds", "60"),
        *("--set", "learning_rate=2e-5", "--set", "bf16=true"),
        *("--set", "lr_scheduler_type=linear"),
        url=server_url,
    )
    assert (run.code, run.err) == (0, "")
    spec = store.get(run.document["id"]).spec
    assert (spec.suffix, spec.seed, spec.model) == ("math", 7, "flant5-demo")
    assert (spec.priority, spec.max_run_seconds) == (-5, 60)
    hyperparameters = spec.hyperparameters
    assert (hyperparameters.learning_rate, hyperparameters.bf16) == (2e-5, True)
    assert hyperparameters.lr_scheduler_type == "linear"
    again = flant5("submit", spec.training_file, url=server_url)
    assert again.out.startswith("submitted ftjob-")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("submit", "none.json"), "none.json is neither a file here nor the id"),
        (("submit", "DATA", "--set", "lr"), "expected NAME=VALUE"),
        (
            ("submit", "DATA", "--set", "learning_rat=1"),
            "learning_rat: unknown field; did you mean 'learning_rate'?",
        ),
        (("job", "ftjob-none"), "no job 'ftjob-none'"),
        (("watch", "ftjob-none"), "no job 'ftjob-none'"),
        (("logs", "ftjob-none", "-f"), "no job 'ftjob-none'"),
        (("cancel", "ftjob-none"), "no job 'ftjob-none'"),
        (("pause", "ftjob-none"), "no job 'ftjob-none'"),
        (("resume", "ftjob-none"), "no job 'ftjob-none'"),
        (("submit", "DATA", "--priority", "101"), "priority: input should be less than"),
        (("download", "ftjob-none", "x"), "no job 'ftjob-none'"),
    ],
)
def test_a_mistake_is_one_readable_line_and_exit_code_1(
    server_url: str, data: Path, args: tuple[str, ...], message: str
) -> None:
    with_data = [str(data) if arg == "DATA" else arg for arg in args]
    run = flant5(*with_data, url=server_url)
    assert (run.code, run.out) == (1, "")
    assert run.err.startswith("flant5: ")
    assert message in run.err
    assert run.err.count("\n") == 1


def test_with_json_a_mistake_is_a_document_too(server_url: str) -> None:
    run = flant5("job", "ftjob-none", "--json", url=server_url)
    assert (run.code, run.err) == (1, "")
    assert "no job 'ftjob-none'" in run.document["error"]["message"]


def test_without_a_server_the_line_says_how_to_start_one() -> None:
    run = flant5("jobs", url="http://127.0.0.1:1/v1")
    assert run.code == 1
    assert "no server answers at http://127.0.0.1:1/v1" in run.err
    assert "flant5 up" in run.err


def test_jobs_and_job_show_the_state_for_people_and_for_programs(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    waiting = make_job(store)
    progress = Progress(step=12, max_steps=75, percent=16.0, loss=3.21, eta_seconds=65.0)
    store.leases.record(running_job, Update(phase="training", progress=progress))
    listed = flant5("jobs", url=server_url).out.splitlines()
    assert waiting.id in listed[1]
    assert "running: training, 16 %" in listed[2]
    page = flant5("jobs", "--limit", "1", "--json", url=server_url).document
    assert ([job["id"] for job in page["data"]], page["has_more"]) == ([waiting.id], True)
    shown = flant5("job", running_job.job.id, url=server_url).out
    assert "12 of 75" in shown
    assert "1m05s" in shown
    assert flant5("job", waiting.id, "--json", url=server_url).document["id"] == waiting.id


def test_cancel_says_what_happened(server_url: str, store: JobStore, running_job: Claim) -> None:
    waiting = make_job(store)
    assert "is cancelled" in flant5("cancel", waiting.id, url=server_url).out
    assert "is asked to stop" in flant5("cancel", running_job.job.id, url=server_url).out
    again = flant5("cancel", waiting.id, "--json", url=server_url)
    assert (again.code, "cancelled before" in again.document["error"]["message"]) == (1, True)


def test_cancel_can_let_a_running_job_save_first(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    run = flant5("cancel", running_job.job.id, "--save", url=server_url)
    assert run.out == f"{running_job.job.id} is asked to save a checkpoint and stop\n"
    assert store.leases.beat(running_job, 60) is Beat.CANCEL_SAVE


def test_pause_and_resume_say_what_happened(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    running, waiting = running_job.job.id, make_job(store).id

    def said(wish: str, job_id: str) -> str:
        return flant5(wish, job_id, url=server_url).out.strip()

    assert said("pause", running) == f"{running} is asked to save a checkpoint and is paused then"
    assert said("resume", running) == f"{running} goes on; the pause is taken back"
    assert said("pause", waiting) == f"{waiting} is paused"
    assert f"flant5 resume {waiting}" in said("job", waiting)
    assert said("resume", waiting) == f"{waiting} goes on; its files are being checked"
    store.accept(waiting)
    paused = flant5("pause", waiting, "--json", url=server_url)
    assert (paused.code, paused.document["status"]) == (0, "paused")
    assert said("resume", waiting) == f"{waiting} is back in the queue"
    again = flant5("resume", waiting, "--json", url=server_url)
    assert (again.code, "can be resumed" in again.document["error"]["message"]) == (1, True)


def test_job_shows_what_a_queued_one_waits_for(server_url: str, store: JobStore) -> None:
    job = make_job(store)
    store.accept(job.id)
    shown = flant5("job", job.id, url=server_url).out
    assert "a worker: none is there" in shown


def test_watch_says_what_a_job_waits_for_and_how_a_paused_one_goes_on(
    server_url: str, redis: Redis, store: JobStore
) -> None:
    job = make_job(store)
    store.accept(job.id)
    registry = WorkerRegistry(redis)
    with started([*FLANT5, "watch", job.id], url=server_url) as watching:

        def next_line_with(text: str) -> str:
            return next(line for line in iter(lambda: line_of(watching), "") if text in line)

        assert next_line_with("waiting for") == "waiting for a worker: none is there\n"
        # Nothing happens to the job meanwhile.
        state = WorkerState(name="gpu-0", devices=("0",), sick="CUDA is gone")
        registry.appear(state, seconds=600)
        registry.set_health("gpu-0", state.sick)
        assert "gpu-0 takes no jobs (CUDA is gone)" in next_line_with("waiting for")
        store.pause(job.id)
        assert next_line_with("flant5") == f"paused; `flant5 resume {job.id}` lets it go on\n"
        store.resume(job.id)
        assert next_line_with("resumed") == "Job resumed\n"
        store.cancel(job.id)
        out, err = watching.communicate(timeout=30)
    assert out.splitlines()[-1] == "Job cancelled"
    assert (watching.returncode, err) == (1, "")


def test_watch_shows_no_hint_for_a_pause_that_is_over(server_url: str, store: JobStore) -> None:
    job = make_job(store)
    store.pause(job.id)
    store.resume(job.id)
    store.cancel(job.id)
    assert "flant5 resume" not in flant5("watch", job.id, url=server_url).out


def test_watch_shows_what_happens_and_succeeds_with_the_job(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    message = "Step 12/75: training loss=3.21"
    with started([*FLANT5, "watch", running_job.job.id], url=server_url) as watching:
        assert line_of(watching) == "Job created; its files are being checked\n"
        store.leases.record(
            running_job, Update(events=(NewEvent(message, type="metrics", data=STEP),))
        )
        store.leases.finish(running_job, SUCCEEDED)
        out, err = watching.communicate(timeout=30)
    assert f"{message} (812 tokens/s, 1m05s left)" in out
    assert "Job succeeded; the model is ft:flant5-demo:flant5::abcdefgh" in out
    assert (watching.returncode, err) == (0, "")


def test_watch_in_json_is_one_document_a_line_and_the_job_last(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    store.leases.finish(running_job, Failed(JobError(code="bad_data", message="record 3 is cut")))
    run = flant5("watch", running_job.job.id, "--json", url=server_url)
    assert run.code == 1
    assert [event["seq"] for event in run.lines[:-1]] == [1, 2, 3, 4]
    assert run.lines[-1]["error"]["message"] == "record 3 is cut"


def test_watch_fails_with_a_cancelled_job(server_url: str, store: JobStore) -> None:
    job = make_job(store)
    store.cancel(job.id)
    assert flant5("watch", job.id, url=server_url).code == 1


def test_submit_can_watch(server_url: str, store: JobStore, data: Path) -> None:
    with started([*FLANT5, "submit", data, "--watch", "--json"], url=server_url) as watching:
        wait_until(lambda: bool(store.to_validate(1)), what="the job")
        store.cancel(store.to_validate(1)[0].id)
        out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 1
    assert '"status": "cancelled"' in out.splitlines()[-1]


def test_watch_survives_a_restart_of_the_server(
    settings: ApiSettings, store: JobStore, running_job: Claim
) -> None:
    port = str(_free_port())
    url = f"http://127.0.0.1:{port}/v1"
    api = [sys.executable, "-m", "api"]
    shared: dict[str, str | Path] = {
        "home": settings.home,
        "redis_url": settings.redis_url.get_secret_value(),
    }
    watch = [*FLANT5, "watch", running_job.job.id, "--json"]
    with started(api, port=port, **shared) as server:
        wait_until(lambda: flant5("models", url=url).code == 0, what="the server")
        with started(watch, url=url) as watching:
            seen = [line_of(watching) for _ in range(3)]
            server.send_signal(signal.SIGTERM)
            # An open stream does not keep the server from ending.
            assert server.wait(timeout=20) == 0
            store.leases.record(running_job, Update(events=(NewEvent("while away"),)))
            store.leases.finish(running_job, SUCCEEDED)
            with started(api, port=port, **shared):
                out, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")
    events = [json.loads(line) for line in (*seen, *out.splitlines()[:-1])]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]


def test_logs_print_lines_as_they_were_written(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    odd = ["{'loss': 3.2}", "  [bold]indented[/bold]", "日本語"]
    store.leases.record(running_job, Update(log_lines=tuple(NewLogLine(line) for line in odd)))
    assert flant5("logs", running_job.job.id, url=server_url).out.splitlines() == odd
    tail = flant5("logs", running_job.job.id, "--tail", "1", "--json", url=server_url)
    assert [line["line"] for line in tail.document] == odd[-1:]
    follow = [*FLANT5, "logs", running_job.job.id, "-f", "--tail", "1"]
    with started(follow, url=server_url) as following:
        assert line_of(following) == "日本語\n"
        store.leases.record(running_job, Update(log_lines=(NewLogLine("the end"),)))
        store.leases.finish(running_job, SUCCEEDED)
        assert following.communicate(timeout=30)[0] == "the end\n"
    assert following.returncode == 0


def test_models_and_download(
    server_url: str, store: JobStore, settings: ApiSettings, tmp_path: Path
) -> None:
    assert "flant5-demo" in flant5("models", url=server_url).out
    models = flant5("models", "--json", url=server_url).document
    assert [model["id"] for model in models["data"]] == ["flant5-demo"]
    claim = claim_new_job(store)
    output = settings.home_directories.run_directory(claim.job.id).output
    (output / "checkpoint-5").mkdir(parents=True)
    (output / "checkpoint-5" / "model.safetensors").write_bytes(b"checkpoint")
    early = flant5("download", claim.job.id, tmp_path / "early", url=server_url)
    assert (early.code, "no model yet" in early.err) == (1, True)
    weights = bytes(range(256)) * 5000
    (output / "model.safetensors").write_bytes(weights)
    (output / "config.json").write_text("{}")
    target = tmp_path / "new" / "model"
    run = flant5("download", claim.job.id, target, url=server_url)
    assert (run.code, run.out) == (0, f"2 files, 1.2 MiB in {target}\n")
    assert {path.name for path in target.iterdir()} == {"model.safetensors", "config.json"}
    assert (target / "model.safetensors").read_bytes() == weights


def test_keys_are_made_listed_and_revoked(
    settings: ApiSettings, serve: Callable[[FastAPI], str], tmp_path: Path
) -> None:
    file = tmp_path / "etc" / "keys"
    key = flant5("keys", "create", "alice", api_keys_file=file).out.strip()
    other = flant5("keys", "create", "bob", "--json", api_keys_file=file).document
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in file.read_text()
    assert KeyRing(file).owner_of(key) == "alice"
    twice = flant5("keys", "create", "alice", api_keys_file=file)
    assert (twice.code, "a key named 'alice'" in twice.err) == (1, True)
    odd = flant5("keys", "create", "a b", api_keys_file=file)
    assert (odd.code, "can't name a key" in odd.err) == (1, True)
    listed = flant5("keys", "list", "--json", "--file", file).document
    assert [each["name"] for each in listed] == ["alice", "bob"]

    url = serve(create_app(settings.model_copy(update={"api_keys_file": file})))
    assert flant5("models", url=url, api_key=key).code == 0
    without = flant5("models", url=url)
    assert (without.code, "FLANT5_API_KEY" in without.err) == (1, True)
    assert flant5("keys", "revoke", "bob", api_keys_file=file).code == 0
    assert flant5("models", url=url, api_key=other["key"]).code == 1
    assert flant5("keys", "revoke", "bob", api_keys_file=file).code == 1


def test_keys_without_a_file_ask_for_one() -> None:
    run = flant5("keys", "list")
    assert (run.code, "FLANT5_API_KEYS_FILE" in run.err) == (1, True)


def test_an_api_that_may_not_start_says_why() -> None:
    command = [sys.executable, "-m", "api"]
    for settings, reason in (
        ({"host": "0.0.0.0"}, "no API keys are configured"),
        ({"port": "x"}, "FLANT5_PORT"),
        ({"api_keys_file": "/nonexistent/keys"}, "can't be read"),
    ):
        done = subprocess.run(
            command, env=environment(**settings), capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 2
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
