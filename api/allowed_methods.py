"""Allowed methods of a path, for 405 responses."""

import re

from fastapi import FastAPI
from starlette.routing import compile_path

_LAST_NAME = re.compile(r"\{(\w+)\}$")


def allowed_methods(app: FastAPI, path: str) -> tuple[str, ...]:
    """Returns all methods of all routes of a path. The framework reports only those of the first
    route. `/v1/fine_tuning/jobs/plan` is a path of its own, not a job named "plan". Empty for a
    path that is not in the OpenAPI document."""
    described = app.openapi()["paths"]
    matching = [path] if path in described else [each for each in described if _fits(each, path)]
    if not matching:
        # The OpenAPI document does not show that model ids and artifact paths contain slashes.
        longer = {each: _LAST_NAME.sub(r"{\1:path}", each) for each in described}
        matching = [each for each, template in longer.items() if _fits(template, path)]
    return tuple(sorted({method.upper() for each in matching for method in described[each]}))


def _fits(template: str, path: str) -> bool:
    return compile_path(template)[0].match(path) is not None
