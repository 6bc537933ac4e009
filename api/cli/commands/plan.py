"""`flant5 submit --dry-run`: estimates a job without starting it; leaves no files behind."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

from rich.console import Console

from api.cli.client import Client, Json
from api.cli.file_reference import file_id_of
from api.cli.plan_view import show_plan
from api.cli.views.format import print_json

_POLL_SECONDS = 1.0
_WAIT_SECONDS = 20


def dry_run(
    client: Client, request: Json, *, files: Mapping[str, str], gpu_memory_gib: float | None
) -> Json:
    """Returns the plan of a request with `files`, ids or local paths by field.

    Local files are uploaded and deleted afterwards.
    """
    with ExitStack() as uploaded:
        named: Json = {}
        for field, reference in files.items():
            named[field] = file_id_of(client, reference)
            if Path(reference).is_file():
                uploaded.callback(client.delete, f"/files/{named[field]}")
        return _plan(client, request | named, gpu_memory_gib=gpu_memory_gib)


def tell(plan: Json, *, as_json: bool) -> int:
    """Prints the plan. Returns the exit code: 1 if the job would fail."""
    if as_json:
        print_json(plan)
    else:
        show_plan(plan)
    return 0 if plan["is_feasible"] else 1


def _plan(client: Client, request: Json, *, gpu_memory_gib: float | None) -> Json:
    query: dict[str, float] = {"wait_seconds": _WAIT_SECONDS}
    if gpu_memory_gib is not None:
        query["gpu_memory_gib"] = gpu_memory_gib
    with Console(stderr=True).status("planning"):
        while True:
            plan = client.post(f"/fine_tuning/jobs/plan?{urlencode(query)}", request)
            if plan["status"] == "completed":
                return plan
            time.sleep(_POLL_SECONDS)
