"""Query parameters that a route does not read are refused, like unknown fields of a body."""

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import ApiSettings

PATHS = sorted(
    (method, path)
    for path, operations in create_app(ApiSettings()).openapi()["paths"].items()
    for method in operations
    if path.startswith("/v1")
)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_route_refuses_a_query_parameter_that_it_does_not_have(
    client: TestClient, method: str, path: str
) -> None:
    response = client.request(method, path.removeprefix("/v1"), params={"limits": "5"})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "limits")
    assert error["message"].startswith("limits: unknown query parameter")
    assert "; this path takes " in error["message"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limt=5", "limt: unknown query parameter; did you mean 'limit'?; this path takes after,"),
        ("limit[x]=5", "limit[x]: unknown query parameter"),
        ("metadata=a", "metadata: unknown query parameter; did you mean 'metadata[key]'?"),
        ("metadata[]=a", "metadata[]: unknown query parameter"),
        ("limit=5&limit=6", "limit: found 2 times in the query; expected one value"),
        ("metadata[a]=b&metadata[a]=c", "metadata[a]: found 2 times in the query"),
    ],
)
def test_what_would_have_no_effect_is_refused(client: TestClient, query: str, message: str) -> None:
    response = client.get(f"/fine_tuning/jobs?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize("query", ["", "limit=5", "after=&limit=1", "metadata[a]=b&metadata[c]=d"])
def test_known_parameters_are_taken(client: TestClient, query: str) -> None:
    response = client.get(f"/fine_tuning/jobs?{query}")
    assert "unknown query" not in response.text
