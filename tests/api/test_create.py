"""Create requests: how the SDK's hyperparameters become ours, and what is said about bad ones."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

REQUEST = {"model": "flant5-demo", "training_file": "chats.json"}


def in_method(**hyperparameters: Any) -> dict[str, Any]:
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def post(client: TestClient, **fields: Any) -> dict[str, Any]:
    response = client.post("/fine_tuning/jobs", json=REQUEST | fields)
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()["hyperparameters"]
    return shown


def refusal(client: TestClient, body: Any) -> tuple[str, str]:
    response = client.post("/fine_tuning/jobs", json=body)
    assert response.status_code == 400, response.text
    assert response.headers["x-should-retry"] == "false"
    error = response.json()["error"]
    return error["param"], error["message"]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"n_epochs": 5}, {"num_train_epochs": 5.0, "n_epochs": 5}),
        ({"n_epochs": "auto"}, {"num_train_epochs": None, "n_epochs": "auto"}),
        ({"num_train_epochs": "auto"}, {"num_train_epochs": None, "n_epochs": "auto"}),
        (
            {"learning_rate_multiplier": "auto"},
            {"learning_rate": None, "learning_rate_multiplier": "auto"},
        ),
        ({"learning_rate_multiplier": 3}, {"learning_rate": 0.0003}),
        ({"learning_rate_multiplier": 2, "learning_rate": 2e-4}, {"learning_rate": 2e-4}),
        ({"batch_size": "auto"}, {"per_device_train_batch_size": 8, "batch_size": 8}),
        (
            {"batch_size": 32},
            {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4},
        ),
        (
            {"batch_size": 32, "num_gpus": 2, "per_device_train_batch_size": 4},
            {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
        ),
        (
            {"batch_size": 6, "gradient_accumulation_steps": 2},
            {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},
        ),
        ({"batch_size": 13}, {"per_device_train_batch_size": 1, "batch_size": 13}),
        ({"lr_scheduler_type": "constant"}, {"warmup_ratio": 0.0}),
        ({"learning_rate": "auto", "bf16": True}, {"learning_rate": None, "bf16": True}),
    ],
)
def test_hyperparameters_of_the_sdk_become_ours(
    client: TestClient, asked: dict[str, Any], shown: dict[str, Any]
) -> None:
    for answer in (
        post(client, method=in_method(**asked)),
        post(client, hyperparameters=asked),
    ):
        assert answer | shown == answer


@pytest.mark.parametrize(
    ("asked", "field", "reason"),
    [
        ({"learning_rate": -1}, "learning_rate", "greater than 0, got -1"),
        ({"learning_rat": 1}, "learning_rat", "did you mean 'learning_rate'?"),
        ({"lora_r": 8}, "lora_r", "did you mean 'lora_rank'"),
        ({"n_epochs": 0}, "n_epochs", "greater than 0"),
        ({"n_epochs": 2, "num_train_epochs": 3}, "n_epochs", "num_train_epochs is 3"),
        (
            {"learning_rate_multiplier": 2, "learning_rate": 1e-4},
            "learning_rate_multiplier",
            "learning_rate is 0.0001",
        ),
        ({"learning_rate_multiplier": 20000}, "learning_rate", "less than or equal to 1"),
        ({"batch_size": 10, "num_gpus": 4}, "batch_size", "is impossible with num_gpus 4"),
        ({"batch_size": 2, "num_gpus": 4}, "batch_size", "is impossible"),
        (
            {"batch_size": 6, "num_gpus": 2, "num_nodes": 2},
            "batch_size",
            "is impossible with num_gpus 2, num_nodes 2",
        ),
        ({"num_nodes": 0}, "num_nodes", "greater than or equal to 1"),
        ({"num_nodes": 65}, "num_nodes", "less than or equal to 64"),
        (
            {"batch_size": 10, "per_device_train_batch_size": 4},
            "batch_size",
            "is impossible with per_device_train_batch_size 4, num_gpus 1",
        ),
        (
            {"batch_size": 16, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
            "batch_size",
            "gradient_accumulation_steps 2",
        ),
        ({"num_train_epochs": 1e300}, "num_train_epochs", "less than or equal"),
        ({"bf16": "maybe"}, "bf16", "valid boolean"),
        ({"max_steps": "many"}, "max_steps", "valid integer"),
        (
            {"finetuning_type": "lora", "lora_target_modules": ["q", "query"]},
            "lora_target_modules.1",
            "input should be 'q', 'k', 'v', 'o', 'wi_0', 'wi_1' or 'wo', got 'query'",
        ),
    ],
)
def test_a_wrong_hyperparameter_is_named_with_its_place_and_what_was_found(
    client: TestClient, asked: dict[str, Any], field: str, reason: str
) -> None:
    for place, body in (
        ("method.supervised.hyperparameters", REQUEST | {"method": in_method(**asked)}),
        ("hyperparameters", REQUEST | {"hyperparameters": asked}),
    ):
        param, message = refusal(client, body)
        assert param == f"{place}.{field}"
        assert message.startswith(f"{place}.{field}: ")
        assert reason in message


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"model": None}, "model", "valid string"),
        ({"model": "gpt-4o-mini"}, "model", "unknown model 'gpt-4o-mini'; available: flant5-demo"),
        ({"model": "../../etc"}, "model", "unknown model '../../etc'"),
        ({"training_file": "none.json"}, "training_file", "no file 'none.json'"),
        ({"training_file": "/etc/passwd"}, "training_file", "relative to the data root"),
        ({"validation_file": "../x"}, "validation_file", "stays inside"),
        ({"suffix": "a b"}, "suffix", "match pattern"),
        ({"suffix": "x" * 65}, "suffix", "at most 64"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"metadata": {"k": 1}}, "metadata.k", "valid string"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "at most 16"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "at most 512"),
        ({"integrations": [{"type": "wandb"}]}, "integrations.0.wandb", "missing"),
        (
            {"integrations": [{"type": "wandb", "wandb": {}}]},
            "integrations.0.wandb.project",
            "missing",
        ),
        (
            {"integrations": [{"type": "comet"}]},
            "integrations.0",
            "'wandb', 'mlflow', 'huggingface'",
        ),
        ({"trainingfile": "x"}, "trainingfile", "did you mean 'training_file'?"),
        ({"method": {"type": "dpo", "dpo": {}}}, "method.type", "'supervised', got 'dpo'"),
        ({"method": {}}, "method.type", "missing"),
        ({"method": "supervised"}, "method", "got 'supervised'"),
    ],
)
def test_a_bad_field_is_named(
    client: TestClient, fields: dict[str, Any], param: str, reason: str
) -> None:
    found, message = refusal(client, REQUEST | fields)
    assert found == param
    assert reason in message


def test_two_places_for_hyperparameters_must_agree(client: TestClient) -> None:
    same = {"hyperparameters": {"n_epochs": 2}, "method": in_method(n_epochs=2)}
    assert post(client, **same)["n_epochs"] == 2
    param, message = refusal(
        client, REQUEST | {"hyperparameters": {"n_epochs": 3}, "method": in_method(n_epochs=2)}
    )
    assert param == "hyperparameters"
    assert "method.supervised.hyperparameters" in message


def test_nulls_and_empty_lists_mean_the_default(client: TestClient) -> None:
    nothing = dict.fromkeys(
        ("validation_file", "method", "hyperparameters", "suffix", "seed", "metadata")
    )
    assert post(client, **nothing, integrations=[])["n_epochs"] == "auto"
    assert post(client, method={"type": "supervised"})["n_epochs"] == "auto"


def test_several_faults_are_told_at_once(client: TestClient) -> None:
    _, message = refusal(client, {"model": 1, "trainingfile": "x"})
    for part in ("model: ", "training_file: missing", "trainingfile: unknown field"):
        assert part in message


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b'{"model": ', "application/json", "the body is not JSON"),
        (b"[1]", "application/json", "the body: "),
        (b"", "application/json", "the body: "),
        (b'{"model": "m"}', "text/plain", "Content-Type"),
        (b'{"model": "\xff"}', "application/json", "byte 11 is not UTF-8"),
        (b"[" * 100_000, "application/json", "nested too deeply"),
        (b'{"model": "\\ud800", "training_file": "f"}', "application/json", "got '\\ud800'"),
        (b'{"\\ud800": 1}', "application/json", "unicode"),
        (
            b'{"model": "m", "hyperparameters": {"learning_rate": NaN}}',
            "application/json",
            "finite",
        ),
    ],
)
def test_a_body_that_is_no_request_is_refused_in_words(
    client: TestClient, body: bytes, content_type: str, reason: str
) -> None:
    response = client.post(
        "/fine_tuning/jobs", content=body, headers={"content-type": content_type}
    )
    assert response.status_code == 400
    assert reason in response.json()["error"]["message"]


def test_a_body_beyond_the_limit_is_refused(client: TestClient) -> None:
    response = client.post("/fine_tuning/jobs", json=REQUEST | {"model": "x" * 2**21})
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("load_best_model_at_end", True),
        ("early_stopping_patience", 2),
        ("eval_generation_samples", 16),
    ],
)
def test_what_needs_evaluations_needs_something_to_evaluate_on(
    client: TestClient, name: str, value: object
) -> None:
    param, message = refusal(client, REQUEST | {"hyperparameters": {name: value}})
    assert param == f"hyperparameters.{name}"
    assert message == (
        f"hyperparameters.{name} is {value}, but there is nothing to evaluate on; expected a"
        " validation_file or a validation_split above 0"
    )
    shown = post(client, hyperparameters={name: value, "validation_split": 0.1})
    assert shown[name] == value
