"""Jobs that name trackers and hubs: what the operator has set up is taken, all else refused."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from openai import OpenAI
from redis import Redis

from worker.jobs.rules import QueuePolicy
from worker.jobs.store.outbox import ALL_OWNERS, IntegrationRegistry
from worker.jobs.store.redis import Scripts
from worker.jobs.store.store import JobStore

REQUEST: dict[str, Any] = {"model": "flant5-demo", "training_file": "chats.json"}
WANDB = {"type": "wandb", "wandb": {"project": "chats"}}
MLFLOW = {"type": "mlflow", "mlflow": {"experiment": "chats", "tags": {"team": "a"}}}
HUB = {"type": "huggingface", "huggingface": {"repository": "org/name"}}


@pytest.fixture
def offers(redis: Redis) -> IntegrationRegistry:
    offers = IntegrationRegistry(Scripts(redis, QueuePolicy()))
    offers.publish({"wandb": [ALL_OWNERS], "mlflow": [ALL_OWNERS], "huggingface": [ALL_OWNERS]})
    return offers


def create(client: TestClient, *integrations: object) -> Any:
    answer = client.post("/fine_tuning/jobs", json=REQUEST | {"integrations": list(integrations)})
    return answer.json() | {"status_code": answer.status_code}


@pytest.mark.usefixtures("offers")
def test_the_sdk_reads_back_the_integrations_it_sent(sdk: OpenAI, store: JobStore) -> None:
    wandb: Any = {"type": "wandb", "wandb": {"project": "chats", "tags": ["a"], "entity": "us"}}
    job = sdk.fine_tuning.jobs.create(**REQUEST, integrations=[wandb])
    again = sdk.fine_tuning.jobs.retrieve(job.id)
    for each in (job, again):
        assert each.integrations
        (read,) = each.integrations
        assert read.type == "wandb"
        assert (read.wandb.project, read.wandb.tags, read.wandb.entity) == ("chats", ["a"], "us")
        assert read.wandb.name is None
    assert store.get(job.id).spec.integrations[0].type == "wandb"


@pytest.mark.usefixtures("offers")
def test_a_job_may_have_one_integration_of_each_type(client: TestClient) -> None:
    job = create(client, WANDB, MLFLOW, HUB)
    assert [each["type"] for each in job["integrations"]] == ["wandb", "mlflow", "huggingface"]
    assert job["integrations"][2]["huggingface"]["private"] is True
    error = create(client, WANDB, MLFLOW, WANDB)["error"]
    assert error["param"] == "integrations"
    assert "'wandb' twice" in error["message"]


def test_what_is_not_set_up_is_refused_with_what_is(
    client: TestClient, offers: IntegrationRegistry
) -> None:
    offers.publish({"mlflow": [ALL_OWNERS]})
    refused = create(client, MLFLOW, WANDB)
    assert refused["status_code"] == 400
    assert refused["error"]["param"] == "integrations.1.type"
    message = refused["error"]["message"]
    assert "'wandb' is not configured for your API key. Available: mlflow" in message
    assert "FLANT5_INTEGRATIONS_FILE" in message
    offers.publish({})
    assert "Available: none" in create(client, MLFLOW)["error"]["message"]


def test_an_account_is_for_its_owners_only(offers: IntegrationRegistry) -> None:
    offers.publish({"wandb": ["alice", "bob"], "mlflow": [ALL_OWNERS]})
    assert offers.allowed_for("alice") == ("mlflow", "wandb")
    assert offers.allowed_for("carol") == ("mlflow",)


@pytest.mark.usefixtures("offers")
@pytest.mark.parametrize(
    ("integration", "param"),
    [
        ({"type": "wandb", "wandb": {"project": ""}}, "integrations.0.wandb.project"),
        ({"type": "wandb", "wandb": {"project": "a", "tags": [1]}}, "integrations.0.wandb.tags.0"),
        ({"type": "wandb", "wandb": {"project": "a", "team": "b"}}, "integrations.0.wandb.team"),
        ({"type": "mlflow", "mlflow": {}}, "integrations.0.mlflow.experiment"),
        (
            {"type": "huggingface", "huggingface": {"repository": "name"}},
            "integrations.0.huggingface.repository",
        ),
        (WANDB | {"mlflow": {}}, "integrations.0.mlflow"),
        (5, "integrations.0"),
    ],
)
def test_the_field_at_fault_is_named(client: TestClient, integration: object, param: str) -> None:
    assert create(client, integration)["error"]["param"] == param
