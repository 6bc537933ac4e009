"""OpenAPI document, with an example of each response."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.openapi.examples import examples
from api.schemas.jobs import CreateJob


def install(app: FastAPI) -> None:
    """Adds the examples to the document of `app`."""
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            tags=app.openapi_tags,
            routes=app.routes,
        )
        schemas = document["components"]["schemas"]
        for name, example in examples().items():
            # A request example shows only the fields that a caller would send.
            shown = example.model_dump(mode="json", exclude_unset=isinstance(example, CreateJob))
            schemas[name].setdefault("examples", [shown])
        app.openapi_schema = document
    return app.openapi_schema
