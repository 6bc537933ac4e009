"""`flant5 logs`, `models` and `download`: outputs of jobs."""

import os
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import quote

import httpx
import typer

from api.cli.client import Client, CommandError, Json, reported
from api.cli.commands.jobs import AsJson, JobId
from api.cli.follow_stream import Disconnected, Idle, StreamEnded, follow_stream
from api.cli.settings import ClientSettings
from api.cli.views.format import moment, print_json, print_table, size


def logs(
    job_id: JobId,
    follows: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep following until the job ends.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Show only the last N lines.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document; with -f, one line of JSON per line."),
    ] = False,
) -> None:
    """Show the training log of a job."""
    path = f"/fine_tuning/jobs/{job_id}/logs"
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        if follows:
            _follow_logs(client, path, tail=tail, as_json=as_json)
            return
        if tail is not None:
            lines = client.get(path, {"tail": tail})["data"]
        else:
            lines = client.pages(path, {"limit": 10_000})
        if as_json:
            print_json(list(lines))
            return
        for line in lines:
            typer.echo(line["line"])


def models(as_json: AsJson = False) -> None:
    """List base and fine-tuned models."""
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        page = client.get("/models")
        if as_json:
            print_json(page)
            return
        rows = [(model["id"], moment(model["created"] or None)) for model in page["data"]]
        print_table(("ID", "CREATED"), rows)


def download(
    job_id: JobId,
    destination: Annotated[Path, typer.Argument(help="Target directory (created if missing).")],
    as_json: AsJson = False,
) -> None:
    """Download a job's final model, without checkpoints."""
    path = f"/fine_tuning/jobs/{job_id}/artifacts"
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        files = [file for file in client.get(path)["data"] if "/" not in file["id"]]
        if not files:
            raise CommandError(f"{job_id} has no model yet, only checkpoints")
        for file in files:
            _download_file(client, f"{path}/{quote(file['id'])}", _inside(destination, file["id"]))
        if as_json:
            print_json({"directory": str(destination.resolve()), "data": files})
            return
        total = sum(file["bytes"] for file in files)
        typer.echo(f"downloaded {len(files)} files ({size(total)}) to {destination}")


def _follow_logs(client: Client, path: str, *, tail: int | None, as_json: bool) -> None:
    after = None
    if tail is not None:
        for line in client.get(path, {"tail": tail})["data"]:
            after = line["id"]
            _print_line(line, as_json=as_json)
    for item in follow_stream(client, path, after=after):
        if not isinstance(item, StreamEnded | Idle | Disconnected):
            _print_line(item, as_json=as_json)


def _print_line(line: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(line)
    else:
        typer.echo(line["line"])


def _inside(destination: Path, name: str) -> Path:
    """Returns the target path. A malicious server can't write outside `destination`."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        raise CommandError(f"the server sent the unsafe file name {name!r}; not written")
    return destination.joinpath(*parts)


def _download_file(client: Client, path: str, target: Path) -> None:
    """Downloads a file. It gets its final name once it is complete."""
    draft = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with client.stream(path) as response, draft.open("wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
        os.replace(draft, target)
    except httpx.HTTPError as error:
        raise client.unreachable(error) from error
    except OSError as error:
        raise CommandError(f"{target} can't be written: {error.strerror}") from error
