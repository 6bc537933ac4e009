"""The methods of a path, for the answer to one that it does not have."""

from fastapi import FastAPI
from starlette.routing import compile_path


def allowed_methods(app: FastAPI, path: str) -> tuple[str, ...]:
    """All methods of all routes of that path; the framework names those of the first one only.
    Empty for a path that is not in the description of the API."""
    found = set()
    for template, operations in app.openapi()["paths"].items():
        pattern, _, _ = compile_path(template)
        if pattern.match(path):
            found |= {method.upper() for method in operations}
    return tuple(sorted(found))
