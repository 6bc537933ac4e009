"""`flant5 watch`: follows a job until it ends.

A terminal gets a live screen. Pipes and log files get a line per event, and programs a line of JSON
per event. While the job makes no progress, the output gives the reason.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Protocol

import typer
from rich.console import Console

from api.cli.client import Client, CommandError, Json, reported
from api.cli.follow_stream import Disconnected, Idle, StreamEnded, follow_stream
from api.cli.options import job_ids
from api.cli.settings import ClientSettings
from api.cli.views.format import print_json
from api.cli.views.watch import WatchView, numbers_of


class PendingReasonTracker:
    """Looks up the reason when a job becomes idle, and while its stream is quiet."""

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path
        self._status = ""
        self._last_sentence = ""

    def reason(self, item: Json | Idle) -> str | None:
        """Returns a line to show; None if the reason has not changed."""
        if not isinstance(item, Idle):
            if "status" not in item["data"]:
                return None
            self._status, self._last_sentence = item["data"]["status"], ""
        if self._status not in ("queued", "paused"):
            return None
        try:
            job = self._client.get(self._path)
        except CommandError:
            return None  # the stream is still read and reports a lost server
        sentence = self._sentence(job)
        if sentence == self._last_sentence:
            return None
        self._last_sentence = sentence
        return sentence or None

    def _sentence(self, job: Json) -> str:
        # Events may be old: only the current status counts.
        if job["status"] == "paused":
            return f"paused; continue it with `flant5 resume {job['id']}`"
        return f"waiting for {job['waiting_for']}" if job["waiting_for"] else ""


class EventLines:
    """Prints one line per event."""

    def event(self, event: Json) -> None:
        numbers = numbers_of(event["data"]) if event["type"] == "metrics" else ""
        self.note(f"{event['message']}{numbers and f' ({numbers})'}")

    def note(self, text: str) -> None:
        """Prints a message that is not an event."""
        typer.echo(text)
        sys.stdout.flush()

    def away(self) -> None:
        """Prints to standard error: standard output contains only events."""
        typer.echo("server unreachable; retrying", err=True)

    def back(self) -> None:
        """Prints nothing: the next event shows it."""


class EventDocuments(EventLines):
    """Prints one line of JSON per event."""

    def event(self, event: Json) -> None:
        print_json(event)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Prints nothing: notes are not events, and the final document contains the reason."""

    def away(self) -> None:
        """Prints nothing: the stream resumes without a gap."""


INTERRUPTED = 130


def watch(
    job_id: Annotated[
        str, typer.Argument(help="The id of a job: ftjob-...", autocompletion=job_ids)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each event as a line of JSON, then the job.")
    ] = False,
) -> None:
    """Follow a job until it ends. Exit code 0 only if it succeeds.

    A terminal shows progress, loss and log. Otherwise, each event is one line.
    """
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        job = client.get(f"/fine_tuning/jobs/{job_id}")
        raise typer.Exit(watch_job(client, job, as_json=as_json))


def watch_job(client: Client, job: Json, *, as_json: bool) -> int:
    """Shows the job's events until it ends. Returns 0 if it succeeded, else 1."""
    path = f"/fine_tuning/jobs/{job['id']}"
    try:
        with _screen(job, as_json=as_json) as screen:
            status = _show_all(client, path, screen)
    except KeyboardInterrupt:
        typer.echo(f"the job continues; watch it with `flant5 watch {job['id']}`", err=True)
        return INTERRUPTED
    if as_json:
        print_json(client.get(path))
    elif status == "succeeded":
        typer.echo(f"download the model with `flant5 download {job['id']} DIRECTORY`")
    return 0 if status == "succeeded" else 1


class _Screen(Protocol):
    def event(self, event: Json) -> None: ...

    def note(self, text: str) -> None: ...

    def away(self) -> None: ...

    def back(self) -> None: ...


def _show_all(client: Client, path: str, screen: _Screen) -> str:
    """Shows all events and returns the final status of the job."""
    status = ""
    idleness = PendingReasonTracker(client, path)
    for item in follow_stream(client, f"{path}/events"):
        if isinstance(item, StreamEnded):
            status = item.status
            continue
        if isinstance(item, Disconnected):
            screen.away()
            continue
        if isinstance(item, Idle):
            screen.back()
        else:
            screen.event(item)
        if sentence := idleness.reason(item):
            screen.note(sentence)
    return status


@contextmanager
def _screen(job: Json, *, as_json: bool) -> Iterator[_Screen]:
    if as_json:
        yield EventDocuments()
    elif (console := Console()).is_terminal and not console.is_dumb_terminal:
        with WatchView(job) as view:
            yield view
    else:
        yield EventLines()
