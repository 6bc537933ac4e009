"""Error reporting of commands: one readable line, exit code 1."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer


class CommandError(Exception):
    """An error whose message is shown to the user."""


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Prints a CommandError as one line on standard error, or as JSON, and exits with code 1."""
    try:
        yield
    except CommandError as error:
        if as_json:
            typer.echo(json.dumps({"error": {"message": str(error)}}))
        else:
            typer.echo(f"flant5: {error}", err=True)
        raise typer.Exit(1) from error
