"""LoRA through the whole service: what a job leaves is a model for the next one."""

from typing import Any

import httpx
import pytest
import torch

from tests.stack.service import EXAMPLES, Service

pytestmark = pytest.mark.stack

LORA = {"finetuning_type": "lora", "lora_target_modules": ["q", "v"], "lora_rank": 4}
SHORT = {"max_steps": 2, "save_steps": 1, "model_max_length": 64}


def test_a_checkpoint_of_a_lora_job_is_the_model_of_the_next_job(service: Service) -> None:
    file_id = service.upload(EXAMPLES)
    first = service.ended(service.submit(file_id, **LORA, **SHORT))
    assert first["status"] == "succeeded", first["error"]
    assert first["hyperparameters"]["lora_target_modules"] == ["q", "v"]
    artifacts = get(service, f"/fine_tuning/jobs/{first['id']}/artifacts")["data"]
    names = {artifact["id"] for artifact in artifacts}
    assert {"model.safetensors", "adapter/adapter_model.safetensors"} <= names
    assert "checkpoint-1/adapter_model.safetensors" in names
    assert "checkpoint-1/model.safetensors" not in names
    checkpoints = get(service, f"/fine_tuning/jobs/{first['id']}/checkpoints")["data"]
    model = checkpoints[-1]["fine_tuned_model_checkpoint"]
    assert model.endswith(":ckpt-step-1")
    for settings in (LORA, {"finetuning_type": "full"}):
        method = {
            "type": "supervised",
            "supervised": {"hyperparameters": {**settings, **SHORT}},
        }
        spec = {"model": model, "training_file": file_id, "method": method}
        answer = httpx.post(f"{service.url}/fine_tuning/jobs", json=spec).raise_for_status()
        ended = service.ended(answer.json()["id"])
        assert ended["status"] == "succeeded", ended["error"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_qlora_job_is_refused_where_no_worker_has_a_gpu(service: Service) -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"finetuning_type": "qlora"}}}
    spec = {"model": "flant5-demo", "training_file": service.upload(EXAMPLES), "method": method}
    answer = httpx.post(f"{service.url}/fine_tuning/jobs", json=spec)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "hyperparameters.finetuning_type"
    assert "needs a GPU" in error["message"]
    assert "cpu-" in error["message"]


def get(service: Service, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{service.url}{path}").raise_for_status().json()
    return answer
