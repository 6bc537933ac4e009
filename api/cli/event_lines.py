"""Prints job events line by line, for pipes, log files and programs."""

import sys

import typer

from api.cli.client import Json
from api.cli.views.format import print_json
from api.cli.watched_job import numbers_of


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
