"""The OpenAPI document is complete: what a reader of /docs needs stands at each thing."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from api.app import create_app
from api.settings import ApiSettings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(ApiSettings()).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_and_parameter_is_described(document: dict[str, Any]) -> None:
    bare = []
    for name, operation in operations(document):
        if not operation.get("description"):
            bare.append(name)
        parameters = operation.get("parameters", [])
        bare += [f"{name}: {each['name']}" for each in parameters if "description" not in each]
    assert bare == []


def test_every_field_is_described(document: dict[str, Any]) -> None:
    bare = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, of in schema.get("properties", {}).items()
        if "description" not in of and "const" not in of
    ]
    assert bare == []


def test_every_operation_shows_the_shape_of_its_errors(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        shape = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert shape == {"$ref": "#/components/schemas/ErrorResponse"}, name
        assert "422" not in operation["responses"], name


def test_what_is_answered_and_what_lists_hold_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bare = set()
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            content = response.get("content", {}).get("application/json", {}).get("schema", {})
            shown = content.get("$ref", "").removeprefix("#/components/schemas/")
            if shown.startswith("ListPage"):
                items = schemas[shown]["properties"]["data"]["items"]["$ref"]
                shown = items.removeprefix("#/components/schemas/")
            if shown and "examples" not in schemas[shown]:
                bare.add(f"{name} {status}: {shown}")
    assert bare == set()


def test_the_document_is_made_once(app: FastAPI) -> None:
    assert app.openapi() is app.openapi()
