"""`flant5 jobs`: lists jobs in a table."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console

from api.cli.client import Client, CommandError, Json, reported
from api.cli.settings import ClientSettings
from api.cli.views.format import duration, plain, print_json, print_table
from worker.jobs.job import Status

_BAR_WIDTH = 10
_PAGE = 1000
_COLUMNS = ("ID", "AGE", "MODEL", "STATUS", "DONE", "LOSS", "LEFT", "RESULT")
_OF_WIDE_ONES = ("AGE", "RESULT")
_WIDE = 110
"""Minimum terminal width, in characters, for the progress bar and all columns."""


def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of jobs to show.")] = 20,
    status: Annotated[
        list[Status] | None,
        typer.Option(help="Only jobs with this status. Can be repeated."),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only jobs with this metadata. Can be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the newest jobs."""
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        query = dict(_pair(text) for text in metadata or [])
        found = list(islice(_jobs(client, query, wanted=status or [], limit=limit), limit + 1))
        jobs, has_more = found[:limit], len(found) > limit
        if as_json:
            print_json({"object": "list", "data": jobs, "has_more": has_more})
            return
        _show(jobs)
        if has_more:
            typer.echo("more jobs exist; raise --limit to show them", err=True)


def _jobs(
    client: Client, query: dict[str, str], *, wanted: Sequence[Status], limit: int
) -> Iterator[Json]:
    """Yields jobs, newest first. The server can't filter by status, so this scans all pages."""
    page_size = _PAGE if wanted else min(_PAGE, limit + 1)
    for job in client.pages("/fine_tuning/jobs", {**query, "limit": page_size}):
        if not wanted or job["status"] in wanted:
            yield job


def _show(jobs: Sequence[Json]) -> None:
    console = Console()
    is_wide = not console.is_terminal or console.width >= _WIDE
    names = [name for name in _COLUMNS if is_wide or name not in _OF_WIDE_ONES]
    rows = (_cells(job, draws_bar=is_wide and console.is_terminal) for job in jobs)
    print_table(
        names,
        [[cells[name] for name in names] for cells in rows],
        whole=[name for name in names if name not in ("MODEL", "RESULT")],
    )


def _pair(text: str) -> tuple[str, str]:
    """
    >>> _pair("team=a=b")
    ('metadata[team]', 'a=b')
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandError(f"--metadata {text}: expected KEY=VALUE, such as team=support")
    return f"metadata[{key}]", value


def _cells(job: Json, *, draws_bar: bool) -> dict[str, str]:
    progress, error = job["progress"] or {}, job["error"] or {}
    loss, eta = progress.get("loss"), progress.get("eta_seconds")
    is_running = job["status"] == "running"
    phase = f": {job['phase'].replace('_', ' ')}" if is_running and job["phase"] else ""
    texts = (
        job["id"],
        duration(max(0, time.time() - job["created_at"])),
        plain(job["model"]),
        f"{job['status']}{phase}",
        _done(progress.get("percent") or 0, draws_bar=draws_bar) if progress else "",
        "" if loss is None else f"{loss:.3f}",
        "" if eta is None or not is_running else duration(eta),
        plain(job["fine_tuned_model"] or error.get("message", "")),
    )
    return dict(zip(_COLUMNS, texts, strict=True))


def _done(percent: float, *, draws_bar: bool) -> str:
    """
    >>> _done(42.0, draws_bar=True), _done(42.0, draws_bar=False)
    ('████░░░░░░  42 %', '42 %')
    """
    if not draws_bar:
        return f"{percent:.0f} %"
    done = int(percent * _BAR_WIDTH / 100)
    return f"{'█' * done}{'░' * (_BAR_WIDTH - done)} {percent:3.0f} %"
