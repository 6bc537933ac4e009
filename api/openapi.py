"""The OpenAPI document, with an example of each answer."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.examples import examples
from api.schemas.create import CreateJob


def install(app: FastAPI) -> None:
    """Make `app` show the examples in its document."""
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
            # What is left out of a request is not what one would send.
            shown = example.model_dump(mode="json", exclude_unset=isinstance(example, CreateJob))
            schemas[name].setdefault("examples", [shown])
        app.openapi_schema = document
    return app.openapi_schema
