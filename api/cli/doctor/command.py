"""The command `flant5 doctor`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from api.cli.commands.jobs import AsJson
from api.cli.doctor.check import Check, Finding, State, examine
from api.cli.views.format import print_json, print_table

Seen = tuple[Check, Finding]


def doctor(
    directory: Annotated[
        Path, typer.Option(help="Directory with docker-compose.yml and secrets/.")
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """Check whether this host can run the service, and show how to fix problems.

    Exit code 0 if nothing failed; warnings do not count.
    """
    # Imported here because of the Redis client, which most commands don't need.
    from api.cli.doctor.all_checks import all_checks

    seen = tuple(examine(all_checks(directory)))
    has_failed = any(finding.state is State.FAILED for _, finding in seen)
    if as_json:
        checks = [{"name": check.name, **finding.as_document()} for check, finding in seen]
        print_json({"status": "failed" if has_failed else "ok", "checks": checks})
    else:
        _show(seen)
    raise typer.Exit(1 if has_failed else 0)


def _show(seen: Sequence[Seen]) -> None:
    rows = [(check.name, finding.state, finding.found) for check, finding in seen]
    print_table(("CHECK", "STATE", "FOUND"), rows)
    for check, finding in seen:
        if finding.is_problem:
            typer.echo(f"\n{check.name}: {finding.state}")
            typer.echo(f"  found     {finding.found}")
            typer.echo(f"  expected  {finding.expected}")
            typer.echo(f"  fix       {finding.remedy}")
