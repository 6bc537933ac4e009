"""Dependency of every route under `/v1`: rejects query parameters that the route does not read."""

import re
from collections import Counter
from typing import Any

from fastapi import Request

from api.http.middleware import path_template
from worker.jobs.errors import InvalidRequestError, did_you_mean


def refuse_unknown_query(request: Request) -> None:
    """Raises InvalidRequestError for an unknown or repeated query parameter. Unknown body fields
    are rejected elsewhere."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if not given:  # avoids building the OpenAPI document
        return
    known = _query_parameters(request)
    for name, number in given.items():
        if not any(_is_of(name, parameter) for parameter in known):
            names = [_shown(parameter) for parameter in known]
            takes = f"takes {', '.join(names)}" if names else "takes none"
            raise InvalidRequestError(
                f"{name}: unknown query parameter{did_you_mean(name, names)}; this path {takes}",
                param=name,
            )
        if number > 1:
            raise InvalidRequestError(
                f"{name}: found {number} times in the query; expected one value", param=name
            )


def _query_parameters(request: Request) -> list[dict[str, Any]]:
    """Returns the route's query parameters from the OpenAPI document, which lists the fields of a
    query model individually."""
    path = path_template(request.scope).replace(":path}", "}")
    operation = request.app.openapi()["paths"][path][request.method.lower()]
    return [each for each in operation.get("parameters", ()) if each["in"] == "query"]


def _is_of(name: str, parameter: dict[str, Any]) -> bool:
    if parameter.get("style") == "deepObject":
        return re.fullmatch(rf"{re.escape(parameter['name'])}\[.+\]", name, re.DOTALL) is not None
    return name == str(parameter["name"])


def _shown(parameter: dict[str, Any]) -> str:
    """
    >>> _shown({"name": "metadata", "style": "deepObject"})
    'metadata[key]'
    """
    return f"{parameter['name']}[key]" if parameter.get("style") else str(parameter["name"])
