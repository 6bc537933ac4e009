"""`flant5 delete`: deletes jobs, models, checkpoints and files.

The confirmation shows the bytes on the server's disk, except for `ft:` ids: their size is known
only after the deletion.
"""

import sys
from typing import Annotated
from urllib.parse import quote

import typer

from api.cli import options
from api.cli.client import Client, CommandError, Json, reported
from api.cli.commands.jobs import AsJson
from api.cli.settings import ClientSettings
from api.cli.views.format import print_json, size

_KINDS = {"ftjob-": "/fine_tuning/jobs/", "ft:": "/models/", "file-": "/files/"}


def delete(
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...",
            help="Jobs (ftjob-...), models and checkpoints (ft:...), files (file-...).",
            autocompletion=options.deletable_ids,
        ),
    ],
    checkpoint: Annotated[
        int | None,
        typer.Option(min=0, help="Delete only the checkpoint of this step of the given job."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete ended jobs with their files, models, checkpoints, or uploaded files."""
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        paths = [_path(reference) for reference in references]
        if checkpoint is not None:
            if len(paths) != 1 or not paths[0].startswith(_KINDS["ftjob-"]):
                found = ", ".join(references)
                raise CommandError(f"--checkpoint: found {found}; expected exactly one job id")
            paths = [f"{paths[0]}/checkpoints/{checkpoint}"]
        if not yes:
            _ask(client, paths, as_json=as_json)
        answers = _delete(client, paths, as_json=as_json)
        if as_json:
            print_json(answers[0] if len(answers) == 1 else {"data": answers})


def _path(reference: str) -> str:
    for beginning, path in _KINDS.items():
        if reference.startswith(beginning):
            return path + quote(reference, safe=":")
    raise CommandError(
        f"{reference!r} can't be deleted; expected the id of a job (ftjob-...), of a fine-tuned "
        "model (ft:...) or of a file (file-...)"
    )


def _ask(client: Client, paths: list[str], *, as_json: bool) -> None:
    """Raises CommandError without a terminal, or if the user declines."""
    if as_json or not sys.stdin.isatty():
        raise CommandError("no terminal to confirm the deletion; pass --yes to skip confirmation")
    for path in paths:
        typer.echo(_described(client, path))
    if not typer.confirm("Delete? This can't be undone"):
        raise CommandError("nothing was deleted")


def _described(client: Client, path: str) -> str:
    name = path.rpartition("/")[2]
    if path.startswith(_KINDS["file-"]):
        file = client.get(path)
        return f"{name}: {file['filename']}, {size(file['bytes'])}"
    if path.startswith(_KINDS["ft:"]):
        return f"{client.get(path)['id']}: the files of this model"
    job_path, _, step = path.partition("/checkpoints/")
    job = client.get(job_path)
    artifacts = _artifacts(client, job_path)
    if step:
        of_step = [each for each in artifacts if each["id"].startswith(f"checkpoint-{step}/")]
        return f"{job['id']}: the checkpoint of step {step}, {_total(of_step)}"
    return f"{job['id']}: {job['status']}, its model, checkpoints and history, {_total(artifacts)}"


def _artifacts(client: Client, job_path: str) -> list[Json]:
    """Returns the artifacts of a job; none if it has no output."""
    try:
        found: list[Json] = client.get(f"{job_path}/artifacts")["data"]
    except CommandError:
        return []
    return found


def _total(artifacts: list[Json]) -> str:
    return size(sum(each["bytes"] for each in artifacts))


def _delete(client: Client, paths: list[str], *, as_json: bool) -> list[Json]:
    """Returns the responses. Raises CommandError with the ids that were already deleted."""
    answers: list[Json] = []
    for path in paths:
        try:
            answers.append(client.delete(path))
        except CommandError as error:
            if not answers:
                raise
            before = ", ".join(each["id"] for each in answers)
            raise CommandError(f"{error} (already deleted: {before})") from error
        if not as_json:
            freed = size(answers[-1]["freed_bytes"])
            typer.echo(f"deleted {answers[-1]['id']}, {freed} freed")
    return answers
