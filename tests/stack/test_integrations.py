"""A tracker beside the whole service with the real trainer, which goes down in the middle."""

from pathlib import Path

import httpx
import pytest

from tests.stack.conftest import running
from tests.stack.service import EXAMPLES, Service, wait_until
from tests.worker.integrations.fake_mlflow import FakeMlflow, playing_mlflow

pytestmark = pytest.mark.stack

HYPERPARAMETERS = {
    "max_steps": 30,
    "save_steps": 7,
    "eval_steps": 10,
    "validation_split": 0.1,
    "per_device_train_batch_size": 2,
    "model_max_length": 64,
}


def submit(service: Service) -> str:
    body = {
        "model": "flant5-demo",
        "training_file": service.upload(EXAMPLES),
        "hyperparameters": HYPERPARAMETERS,
        "integrations": [{"type": "mlflow", "mlflow": {"experiment": "chats"}}],
    }

    def is_offered() -> bool:
        plan = httpx.post(f"{service.url}/fine_tuning/jobs/plan", json=body, timeout=60)
        return plan.status_code in (200, 202)

    wait_until(is_offered, seconds=60)
    answer = httpx.post(f"{service.url}/fine_tuning/jobs", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def test_a_real_run_that_was_interrupted_is_one_clean_run_in_the_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "integrations.toml"
    monkeypatch.setenv("FLANT5_INTEGRATIONS_FILE", str(file))
    with playing_mlflow(FakeMlflow()) as fake:
        file.write_text(f'[mlflow]\ntracking_uri = "{fake.url}"\n')
        with running(tmp_path) as service:
            job_id = submit(service)
            wait_until(lambda: len(fake.steps) > 5, seconds=180)
        with running(tmp_path) as again:
            assert again.ended(job_id)["status"] == "succeeded"
            wait_until(lambda: fake.end == "FINISHED", seconds=60)
            events = httpx.get(f"{again.url}/fine_tuning/jobs/{job_id}/events?limit=100").json()
        assert fake.steps == list(range(1, 31))
        evaluations = [each["step"] for each in fake.points if each["key"] == "eval/loss"]
        assert evaluations == [10, 20, 30]
        assert len(fake.runs) == 1
        told = [each for each in events["data"] if each["data"].get("integration") == "mlflow"]
        assert [each["data"]["url"] for each in told] == [f"{fake.url}/#/experiments/1/runs/run-1"]
