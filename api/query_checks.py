"""A dependency of every route under `/v1`: query parameters that the route does not read."""

import re
from collections import Counter
from typing import Any

from fastapi import Request

from api.request_meter import path_template
from worker.jobs.errors import InvalidRequestError
from worker.jobs.nearest import nearest


def refuse_unknown_query(request: Request) -> None:
    """Raises InvalidRequestError for a query parameter that the route does not have, or that is
    given twice. Unknown fields of a body are refused as well."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if not given:  # the document need not be made
        return
    known = _query_parameters(request)
    for name, number in given.items():
        if not any(_is_of(name, parameter) for parameter in known):
            names = [_shown(parameter) for parameter in known]
            takes = f"takes {', '.join(names)}" if names else "takes none"
            raise InvalidRequestError(
                f"{name}: unknown query parameter{nearest(name, names)}; this path {takes}",
                param=name,
            )
        if number > 1:
            raise InvalidRequestError(
                f"{name}: found {number} times in the query; expected one value", param=name
            )


def _query_parameters(request: Request) -> list[dict[str, Any]]:
    """Returns the parameters of the route in the description of the API, which has the fields of a
    query model one by one."""
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
