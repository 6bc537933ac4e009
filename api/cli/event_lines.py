"""A job's events one below the other: for a pipe, a log file, a program."""

import sys

import typer

from api.cli.client import Json
from api.cli.printing import print_json
from api.cli.watched_job import numbers_of


class EventLines:
    """One line per event."""

    def event(self, event: Json) -> None:
        numbers = numbers_of(event["data"]) if event["type"] == "metrics" else ""
        self.note(f"{event['message']}{numbers and f' ({numbers})'}")

    def note(self, text: str) -> None:
        """A remark that is no event."""
        typer.echo(text)
        sys.stdout.flush()

    def away(self) -> None:
        """Told on the other channel: what is read by a program stays the events."""
        typer.echo("the server is away; trying again", err=True)

    def back(self) -> None:
        """Nothing: what comes next shows it."""


class EventDocuments(EventLines):
    """One line of JSON per event."""

    def event(self, event: Json) -> None:
        print_json(event)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Nothing: the last document has it, and no other is an event."""

    def away(self) -> None:
        """Nothing: all events come in order, whether or not it was away."""
