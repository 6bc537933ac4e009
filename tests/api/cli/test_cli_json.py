"""Every command speaks JSON, about its failures too."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup

from api.cli.main import app
from tests.api.cli_runs import flant5

LOCAL = {
    "up",
    "adopt",
    "doctor",
    "data check",
    "keys create",
    "keys list",
    "keys revoke",
    "keys rotate",
}
"""Commands that need no server."""
FILLED_IN = {
    "job_id": "ftjob-none",
    "data": "file-none",
    "destination": "out",
    "model": "none",
    "references": "ftjob-none",
}
"""An argument that each command takes, by its name."""
OPTIONS = {"chat": ("--message", "Hi"), "delete": ("--yes",)}
"""What a command asks for beside --json."""


def commands() -> dict[str, TyperCommand]:
    """All there are, by the words one types."""
    return dict(_below(typer.main.get_command(app), ""))


def _below(command: Any, name: str) -> Iterator[tuple[str, TyperCommand]]:
    if not isinstance(command, TyperGroup):
        yield name.strip(), command
        return
    for word, each in command.commands.items():
        yield from _below(each, f"{name} {word}")


def test_every_command_has_json() -> None:
    without = [
        name
        for name, command in commands().items()
        if not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert len(commands()) > 15
    assert without == []


@pytest.mark.parametrize("name", sorted(commands().keys() - LOCAL))
def test_a_command_without_its_server_says_so_in_json(name: str) -> None:
    arguments = [
        FILLED_IN[str(parameter.name)]
        for parameter in commands()[name].params
        if isinstance(parameter, TyperArgument) and parameter.required
    ]
    options = OPTIONS.get(name, ())
    run = flant5(*name.split(), *arguments, *options, "--json", url="http://127.0.0.1:1/v1")
    assert (run.code, run.err) == (1, "")
    assert "no response from http://127.0.0.1:1/v1" in run.document["error"]["message"]
