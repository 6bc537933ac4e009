"""What a job leaves: pages of its history, the loss curve, files for download."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.settings import ApiSettings
from flant5_train.protocol.progress import Evaluated, Record, StepTrained, TrainingStarted
from flant5_train.training.progress_log import ProgressLog
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.serialization import Claim, NewCheckpoint, NewEvent, NewLogLine, Update
from worker.jobs.store.store import JobStore


@pytest.fixture
def run_directory(settings: ApiSettings, running_job: Claim) -> RunDirectory:
    return settings.home_directories.run_directory(running_job.job.id)


@pytest.fixture
def url(running_job: Claim) -> str:
    return f"/fine_tuning/jobs/{running_job.job.id}"


def step(number: int, *, loss: float, grad_norm: float | None = 1.0) -> StepTrained:
    return StepTrained(
        step=number,
        max_steps=10,
        epoch=number / 5,
        loss=loss,
        learning_rate=1e-4,
        grad_norm=grad_norm,
        tokens_seen=100 * number,
        tokens_per_second=50.0,
        source_fill=0.9,
        target_fill=0.8,
        tflops=1.5,
        eta_seconds=1.0,
    )


def started(at_step: int) -> TrainingStarted:
    return TrainingStarted(step=at_step, max_steps=10, num_pairs=5, num_processes=1)


def evaluated(number: int, *, loss: float) -> Evaluated:
    return Evaluated(
        step=number, eval_loss=loss, eval_perplexity=9.5, eval_token_accuracy=0.5, eval_tokens=9
    )


def write(run_directory: RunDirectory, *records: Record) -> None:
    log = ProgressLog(run_directory.progress)
    for record in records:
        log.append(record)
    log.close()


def test_events_are_listed_newest_first_and_page_by_page(
    client: TestClient, store: JobStore, running_job: Claim, url: str
) -> None:
    store.leases.record(
        running_job, Update(events=(NewEvent("Step 1", type="metrics", data={"a": 1}),))
    )
    first = client.get(f"{url}/events", params={"limit": 3}).json()
    assert [event["seq"] for event in first["data"]] == [4, 3, 2]
    assert first["has_more"] is True
    newest = first["data"][0]
    assert newest["id"].startswith("ft-event-")
    assert (newest["object"], newest["type"], newest["data"]) == (
        "fine_tuning.job.event",
        "metrics",
        {"a": 1},
    )
    rest = client.get(f"{url}/events", params={"limit": 3, "after": first["last_id"]}).json()
    assert ([event["seq"] for event in rest["data"]], rest["has_more"]) == ([1], False)


def test_log_lines_go_on_after_a_cursor_or_show_their_tail(
    client: TestClient, store: JobStore, running_job: Claim, url: str
) -> None:
    lines = tuple(NewLogLine(f"line {number}", stream="stderr") for number in range(1, 6))
    store.leases.record(running_job, Update(log_lines=lines))
    page = client.get(f"{url}/logs", params={"limit": 2}).json()
    assert [line["line"] for line in page["data"]] == ["line 1", "line 2"]
    assert set(page["data"][0]) >= {"id", "seq", "created_at", "stream", "line"}
    after = client.get(f"{url}/logs", params={"after": page["last_id"]}).json()
    assert ([line["seq"] for line in after["data"]], after["has_more"]) == ([3, 4, 5], False)
    tail = client.get(f"{url}/logs", params={"tail": 2}).json()
    assert [line["line"] for line in tail["data"]] == ["line 4", "line 5"]


def test_checkpoints_have_the_shape_of_the_sdk(
    client: TestClient, store: JobStore, running_job: Claim, url: str
) -> None:
    metrics = {"loss": 2.5, "eval_loss": 2.75, "eval_token_accuracy": 0.5, "other": 1.0}
    checkpoints = (
        NewCheckpoint(step=5, path="output/checkpoint-5", metrics={}),
        NewCheckpoint(step=10, path="output/checkpoint-10", metrics=metrics),
    )
    store.leases.record(running_job, Update(checkpoints=checkpoints))
    page = client.get(f"{url}/checkpoints").json()
    newest: dict[str, Any] = page["data"][0]
    assert [checkpoint["step_number"] for checkpoint in page["data"]] == [10, 5]
    assert newest.pop("id").startswith("ftckpt_")
    assert isinstance(newest.pop("created_at"), int)
    assert newest == {
        "object": "fine_tuning.job.checkpoint",
        "fine_tuning_job_id": running_job.job.id,
        "fine_tuned_model_checkpoint": (
            f"ft:flant5-demo:flant5::{running_job.job.id[-8:]}:ckpt-step-10"
        ),
        "step_number": 10,
        "metrics": {
            "step": 10,
            "train_loss": 2.5,
            "full_valid_loss": 2.75,
            "full_valid_mean_token_accuracy": 0.5,
            "other": 1.0,
        },
        "path": "output/checkpoint-10",
    }
    rest = client.get(f"{url}/checkpoints", params={"after": page["data"][1]["id"]} | {"limit": 1})
    assert rest.json()["data"] == []


def test_the_curve_comes_in_columns(
    client: TestClient, run_directory: RunDirectory, url: str
) -> None:
    write(run_directory, started(0), step(1, loss=4.0), evaluated(1, loss=3.9), step(2, loss=3.0))
    assert client.get(f"{url}/metrics").json() == {
        "object": "fine_tuning.job.metrics",
        "step": [1, 2],
        "epoch": [0.2, 0.4],
        "loss": [4.0, 3.0],
        "learning_rate": [1e-4, 1e-4],
        "grad_norm": [1.0, 1.0],
        "tokens_seen": [100, 200],
        "tokens_per_second": [50.0, 50.0],
        "source_fill": [0.9, 0.9],
        "target_fill": [0.8, 0.8],
        "tflops": [1.5, 1.5],
        "mfu": [None, None],
        "gpu_memory_bytes": [None, None],
        "eval_step": [1],
        "eval_loss": [3.9],
        "eval_perplexity": [9.5],
        "eval_token_accuracy": [0.5],
        "eval_exact_match": [None],
        "eval_rouge_l": [None],
        "num_malformed_lines": 0,
    }


def test_work_that_was_lost_is_not_in_the_curve_until_it_is_done_again(
    client: TestClient, run_directory: RunDirectory, url: str
) -> None:
    write(run_directory, started(0), *(step(number, loss=5.0) for number in (1, 2, 3, 4)))
    write(run_directory, evaluated(4, loss=4.0), started(2), step(3, loss=2.0))
    curve = client.get(f"{url}/metrics").json()
    assert (curve["step"], curve["loss"], curve["eval_step"]) == ([1, 2, 3], [5.0, 5.0, 2.0], [])


def test_a_step_that_appears_twice_keeps_its_last_record(
    client: TestClient, run_directory: RunDirectory, url: str
) -> None:
    write(run_directory, step(1, loss=5.0), step(2, loss=4.0), step(1, loss=3.0))
    curve = client.get(f"{url}/metrics").json()
    assert (curve["step"], curve["loss"]) == ([1, 2], [3.0, 4.0])


def test_lines_that_cannot_be_read_are_counted_and_numbers_that_json_lacks_are_null(
    client: TestClient, run_directory: RunDirectory, url: str
) -> None:
    write(run_directory, step(1, loss=1.0, grad_norm=None))
    infinite = json.loads(step(2, loss=1.0).model_dump_json()) | {"grad_norm": float("inf")}
    with run_directory.progress.open("a") as file:
        file.write("not json\n" + json.dumps(infinite) + '\n{"type":"st')
    curve = client.get(f"{url}/metrics").json()
    assert (curve["step"], curve["grad_norm"]) == ([1, 2], [None, None])
    assert curve["num_malformed_lines"] == 1


def test_a_job_without_a_curve_has_empty_columns(client: TestClient, url: str) -> None:
    curve = client.get(f"{url}/metrics").json()
    assert (curve["step"], curve["loss"], curve["eval_loss"]) == ([], [], [])


@pytest.fixture
def output(run_directory: RunDirectory, tmp_path: Path) -> Path:
    output = run_directory.output
    (output / "checkpoint-5").mkdir(parents=True)
    (output / "model.safetensors").write_bytes(bytes(range(256)))
    (output / "checkpoint-5" / "trainer_state.json").write_text("{}")
    (run_directory.path / "run.json").write_text("secret")
    (output / "link.json").symlink_to(run_directory.path / "run.json")
    (output / "linked").symlink_to(run_directory.path)
    return output


def test_artifacts_are_listed_with_their_sizes(client: TestClient, output: Path, url: str) -> None:
    everything = [("checkpoint-5/trainer_state.json", 2), ("model.safetensors", 256)]
    for path in ("/artifacts", "/artifacts/"):
        page = client.get(url + path).json()
        assert [(file["id"], file["bytes"]) for file in page["data"]] == everything
        assert page["has_more"] is False
    inside = client.get(f"{url}/artifacts/checkpoint-5").json()
    assert [file["id"] for file in inside["data"]] == ["checkpoint-5/trainer_state.json"]


def test_artifacts_can_be_downloaded_whole_or_in_part(
    client: TestClient, output: Path, url: str
) -> None:
    whole = client.get(f"{url}/artifacts/model.safetensors")
    assert whole.content == bytes(range(256))
    assert "model.safetensors" in whole.headers["content-disposition"]
    part = client.get(f"{url}/artifacts/model.safetensors", headers={"range": "bytes=10-12"})
    assert (part.status_code, part.content) == (206, bytes([10, 11, 12]))


@pytest.mark.parametrize(
    "path",
    [
        "link.json",
        "linked/run.json",
        "linked",
        "..%2Frun.json",
        "%2e%2e/run.json",
        "%2Fetc%2Fpasswd",
        "//etc/passwd",
        "checkpoint-5/..%2F..%2Frun.json",
        "model.safetensors%00",
        "model.safetensors/x",
        "none",
        "x" * 5000,
    ],
)
def test_nothing_outside_the_output_can_be_reached(
    client: TestClient, output: Path, url: str, path: str
) -> None:
    response = client.get(f"{url}/artifacts/{path}")
    assert response.status_code == 404
    assert "secret" not in response.text


def test_a_job_without_output_says_so(client: TestClient, url: str) -> None:
    response = client.get(f"{url}/artifacts")
    assert response.status_code == 404
    assert "no output yet" in response.json()["error"]["message"]
