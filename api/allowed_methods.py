"""The methods of a path, for the answer to one that it does not have."""

import re

from fastapi import FastAPI
from starlette.routing import compile_path

_LAST_NAME = re.compile(r"\{(\w+)\}$")


def allowed_methods(app: FastAPI, path: str) -> tuple[str, ...]:
    """All methods of all routes of that path; the framework names those of the first one only.
    `/v1/fine_tuning/jobs/plan` is a path of its own, and no job called "plan". Empty for a path
    that is not in the description of the API."""
    described = app.openapi()["paths"]
    matching = [path] if path in described else [each for each in described if _fits(each, path)]
    if not matching:
        # The description does not say that the id of a model, or a path of an artifact, has
        # slashes in it.
        longer = {each: _LAST_NAME.sub(r"{\1:path}", each) for each in described}
        matching = [each for each, template in longer.items() if _fits(template, path)]
    return tuple(sorted({method.upper() for each in matching for method in described[each]}))


def _fits(template: str, path: str) -> bool:
    return compile_path(template)[0].match(path) is not None
