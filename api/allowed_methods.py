"""The methods of a path, for the answer to one that it does not have."""

from collections.abc import Callable

from fastapi import FastAPI
from starlette.routing import compile_path


def allowed_methods(app: FastAPI, path: str) -> tuple[str, ...]:
    """All methods of all routes of that path; the framework names those of the first one only.
    `/v1/fine_tuning/jobs/plan` is a path of its own, and no job called "plan". Empty for a path
    that is not in the description of the API."""
    described = app.openapi()["paths"]
    matching = [path] if path in described else filter(_matches(path), described)
    return tuple(sorted({method.upper() for each in matching for method in described[each]}))


def _matches(path: str) -> Callable[[str], bool]:
    return lambda template: compile_path(template)[0].match(path) is not None
