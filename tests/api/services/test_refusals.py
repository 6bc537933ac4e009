"""Plans and creates refuse the settings that a worker would refuse in its first second."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from api.services.planning import _forecast
from api.services.reports import ReportPrograms
from api.settings import ApiSettings
from flant5_train.protocol.forecast import Forecast, ForecastRequest
from tests.api.cli_runs import flant5
from tests.api.plan_scenes import EXAMPLES, REQUEST, make_model, plan, planned
from tests.api.test_files import upload
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.redis import Scripts
from worker.jobs.store.workers import WorkerRegistry, WorkerState


def appear(redis: Redis, name: str, *devices: str) -> None:
    registry = WorkerRegistry(Scripts(redis, QueuePolicy()))
    registry.register(WorkerState(name=name, devices=devices), seconds=600)


def refused(client: TestClient, **fields: Any) -> tuple[str, str]:
    """The field at fault and the message, the same of a plan and of a create."""
    answers = [client.post("/fine_tuning/jobs", json=REQUEST | fields), plan(client, **fields)]
    errors = [answer.json()["error"] for answer in answers]
    assert [answer.status_code for answer in answers] == [400, 400], errors
    assert errors[0] == errors[1]
    assert client.get("/fine_tuning/jobs").json()["data"] == []
    return errors[0]["param"], errors[0]["message"]


SETTINGS: list[tuple[dict[str, Any], str, str]] = [
    # The trainer: flant5_train/training/callbacks/guards.py, adapters/quantization.py
    (
        {"finetuning_type": "qlora"},
        "finetuning_type",
        "which needs a GPU, but none of the registered workers has one (cpu-box: cpu-0);"
        " expected finetuning_type lora, or a worker with a GPU",
    ),
    ({"torch_compile": True}, "torch_compile", "expected torch_compile false, or a worker"),
    ({"fp16": True}, "fp16", "unknown field; did you mean 'bf16'?"),
    ({"train_sampling_strategy": "sequential"}, "train_sampling_strategy", "unknown field"),
    ({"dataloader_drop_last": True}, "dataloader_drop_last", "unknown field"),
    # The trainer: sharding_trainer.py, adapters/start.py, guards/nothing_to_evaluate.py
    ({"torch_compile": True, "batching": "padded"}, "", "expected batching packed"),
    ({"sharding": "fsdp", "optim": "adafactor"}, "", "whose state can't be sharded"),
    ({"sharding": "fsdp", "finetuning_type": "lora"}, "", "adapters can't be sharded"),
    ({"sharding": "fsdp", "finetuning_type": "qlora"}, "", "adapters can't be sharded"),
    ({"lora_rank": 8}, "", "finetuning_type is full, which does not use it"),
    ({"finetuning_type": "lora", "lora_target_modules": ["x"]}, "lora_target_modules.0", "'q', "),
    ({"load_best_model_at_end": True}, "load_best_model_at_end", "nothing to evaluate on"),
    ({"early_stopping_patience": 2}, "early_stopping_patience", "nothing to evaluate on"),
    ({"eval_generation_samples": 2}, "eval_generation_samples", "nothing to evaluate on"),
    ({"lr_scheduler_type": "constant", "warmup_ratio": 0.1}, "warmup_ratio", "has no warm-up"),
    ({"lr_scheduler_type": "constant", "warmup_ratio": 0.03}, "warmup_ratio", "has no warm-up"),
    ({"optim": "adafactor", "adam_beta1": 0.5}, "adam_beta1", "which does not use it"),
    (
        {"early_stopping_threshold": 0.5},
        "early_stopping_threshold",
        "is 0, which disables",
    ),
    ({"max_steps": 0}, "", "max_steps is 0"),
]


@pytest.mark.parametrize(("asked", "field", "message"), SETTINGS, ids=lambda value: str(value)[:40])
def test_settings_that_no_worker_here_takes(
    client: TestClient, redis: Redis, asked: dict[str, Any], field: str, message: str
) -> None:
    appear(redis, "cpu-box", "cpu-0")
    param, found = refused(client, hyperparameters=asked)
    assert param == ".".join(filter(None, ["hyperparameters", field]))
    assert message in found


@pytest.mark.parametrize("asked", [{"finetuning_type": "qlora"}, {"torch_compile": True}])
def test_a_job_that_needs_a_gpu_waits_for_a_worker_and_is_warned_of_those_without(
    client: TestClient, redis: Redis, asked: dict[str, Any]
) -> None:
    upload(client, EXAMPLES)
    codes = [each["code"] for each in planned(client, hyperparameters=asked)["warnings"]]
    assert "no_worker" in codes
    appear(redis, "gpu-box", "GPU-1")
    codes = [each["code"] for each in planned(client, hyperparameters=asked)["warnings"]]
    assert not {"no_worker", "no_gpu"} & {*codes}
    appear(redis, "cpu-box", "cpu-0")
    told = planned(client, hyperparameters=asked)
    (warning,) = (each for each in told["warnings"] if each["code"] == "no_gpu")
    assert "1 of the 2 workers that may run the job have none (cpu-box)" in warning["message"]
    assert told["is_feasible"] is True


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("google/flan-t5-bse", "did you mean 'google/flan-t5-base'?"),
        ("google/flan-t5-xxxl", "did you mean 'google/flan-t5-xxl'?"),
        ("gogle/flan-t5-large", "did you mean 'google/flan-t5-large'?"),
        ("flan-t5-small", "did you mean 'google/flan-t5-small'?"),
        ("flant5-dmo", "did you mean 'flant5-demo'?"),
        ("smal", "did you mean 'small'?"),
        ("ft:flant5-demo:flant5::nothing", "no fine-tuned model 'ft:flant5-demo:flant5::nothing'"),
    ],
)
def test_a_misspelt_model_is_answered_with_the_one_that_was_meant(
    client: TestClient, settings: ApiSettings, model: str, message: str
) -> None:
    make_model(settings)
    param, found = refused(client, model=model)
    assert param == "model"
    assert message in found


def no_weights(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def pickled(directory: Path) -> None:
    no_weights(directory)
    (directory / "pytorch_model.bin").touch()


def no_vocabulary(directory: Path) -> None:
    (directory / "spiece.model").unlink()


def broken_config(directory: Path) -> None:
    (directory / "config.json").write_text("{")


def of_others(directory: Path) -> None:
    (directory / "config.json").write_text('{"model_type": "bart"}')


def of_the_first_kind(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    del config["tie_word_embeddings"]
    (directory / "config.json").write_text(json.dumps(config))


def adapter_of_others(directory: Path) -> None:
    (directory / "adapter_config.json").write_text("{}")


def adapter(directory: Path) -> None:
    (directory / "flant5_adapter.json").write_text("{}")
    (directory / "adapter_model.safetensors").touch()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_weights, "found no weights in it"),
        (pickled, "found its weights in pytorch_model.bin"),
        (no_vocabulary, "found no spiece.model in it"),
        (broken_config, "its config.json can't be read"),
        (of_others, "found a model of type 'bart'; expected a Flan-T5"),
        (of_the_first_kind, "found a T5 v1.0"),
        (adapter_of_others, "found an adapter of another program"),
        (adapter, "which qlora can't start from"),
    ],
)
def test_a_directory_that_the_trainer_would_not_load(
    client: TestClient,
    settings: ApiSettings,
    redis: Redis,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    appear(redis, "gpu-box", "GPU-1")
    directory = make_model(settings)
    damage(directory)
    param, found = refused(client, model="small", hyperparameters={"finetuning_type": "qlora"})
    assert param == "model"
    assert message in found
    assert str(settings.home) not in found


def test_a_dry_run_of_such_a_job_ends_with_an_error(
    server_url: str, redis: Redis, tmp_path: Path
) -> None:
    appear(redis, "cpu-box", "cpu-0")
    data = tmp_path / "talks.json"
    data.write_bytes(EXAMPLES)
    misspelt = flant5("submit", data, "--dry-run", "--model", "google/flan-t5-bse", url=server_url)
    assert misspelt.code != 0
    assert "did you mean 'google/flan-t5-base'?" in misspelt.err
    quantized = flant5(
        "submit", data, "--dry-run", "--set", "finetuning_type=qlora", url=server_url
    )
    assert quantized.code != 0
    assert "needs a GPU" in quantized.err


def test_bf16_on_processors_without_it_is_warned_of(
    client: TestClient, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(forecast_request: ForecastRequest, programs: ReportPrograms) -> Forecast:
        told = _forecast(forecast_request, programs)
        found = "bf16 is slow here" if forecast_request.is_on_cpu else None
        return told.model_copy(update={"slow_bf16": found})

    monkeypatch.setattr("api.services.planning._forecast", slow)
    appear(redis, "cpu-box", "cpu-0")
    warnings = planned(client, hyperparameters={"bf16": True})["warnings"]
    assert ("slow_bf16", "bf16 is slow here", "hyperparameters.bf16") in [
        (each["code"], each["message"], each["param"]) for each in warnings
    ]
    appear(redis, "gpu-box", "GPU-1")
    warnings = planned(client, hyperparameters={"bf16": True})["warnings"]
    assert "slow_bf16" not in [each["code"] for each in warnings]
