"""A job that names a repository of a hub: what of it the API knows is good or not."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from tests.api.test_integrations import create
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.outbox import ALL_OWNERS, IntegrationRegistry
from worker.jobs.store.redis import Scripts

FIELD = "integrations.0.huggingface"


@pytest.fixture(autouse=True)
def offers(redis: Redis) -> IntegrationRegistry:
    offers = IntegrationRegistry(Scripts(redis, QueuePolicy()))
    offers.publish({"huggingface": [ALL_OWNERS]}, namespaces={"huggingface": ["my-org", "lab"]})
    return offers


def pushing(**place: object) -> dict[str, object]:
    return {"type": "huggingface", "huggingface": {"repository": "my-org/talk", **place}}


def test_a_job_says_where_its_model_goes(client: TestClient) -> None:
    (told,) = create(client, pushing(revision="v2"))["integrations"]
    assert told == pushing(private=True, revision="v2")
    (told,) = create(client, pushing(private=False))["integrations"]
    assert told == pushing(private=False, revision="main")


def test_a_namespace_that_the_operator_does_not_allow_is_refused_with_those_he_does(
    client: TestClient, offers: IntegrationRegistry
) -> None:
    refused = create(client, pushing(repository="their-org/talk"))
    assert refused["status_code"] == 400
    assert refused["error"]["param"] == f"{FIELD}.repository"
    assert "'their-org'; expected one that" in refused["error"]["message"]
    assert "the operator allows: my-org, lab" in refused["error"]["message"]
    offers.publish({"huggingface": [ALL_OWNERS]}, namespaces={"huggingface": ["their-org"]})
    assert create(client, pushing(repository="their-org/talk"))["id"]
    assert "the operator allows: their-org" in create(client, pushing())["error"]["message"]


def test_namespaces_are_no_integrations_themselves(offers: IntegrationRegistry) -> None:
    assert offers.allowed_for("alice") == ("huggingface",)


@pytest.mark.parametrize(
    ("place", "field"),
    [
        ({"repository": "my-org/two--dashes"}, "repository"),
        ({"repository": "my-org/-edge"}, "repository"),
        ({"repository": "my-org/a..b"}, "repository"),
        ({"repository": "my-org/talk.git"}, "repository"),
        ({"repository": "my-org/" + "x" * 97}, "repository"),
        ({"repository": "my-org/a/b"}, "repository"),
        ({"repository": "my-org/"}, "repository"),
        ({"repository": "my-org/tälk"}, "repository"),
        ({"revision": "a/b"}, "revision"),
        ({"revision": ""}, "revision"),
        ({"revision": "-f"}, "revision"),
        ({"private": "perhaps"}, "private"),
        ({"token": "hf_ATokenInARequest0001"}, "token"),
    ],
)
def test_a_place_that_no_hub_has_is_refused_with_its_field(
    client: TestClient, place: dict[str, Any], field: str
) -> None:
    error = create(client, pushing(**place))["error"]
    assert error["param"] == f"{FIELD}.{field}"
    assert "hf_ATokenInARequest0001" not in error["message"]
