"""How a command that can't do its work says so: one readable line, exit code 1."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer


class CommandError(Exception):
    """What went wrong, written for the person at the terminal."""


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Turns a CommandError into one line on standard error, or into one JSON document."""
    try:
        yield
    except CommandError as error:
        if as_json:
            typer.echo(json.dumps({"error": {"message": str(error)}}))
        else:
            typer.echo(f"flant5: {error}", err=True)
        raise typer.Exit(1) from error
