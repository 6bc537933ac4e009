"""`flant5 watch`: a job's training as it goes, to its end."""

import sys
from types import TracebackType
from typing import Annotated, Protocol, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from api.cli.client import Client, Json
from api.cli.errors import reported
from api.cli.idleness import Idleness
from api.cli.live import Ended, Quiet, follow
from api.cli.printing import duration, print_json
from api.cli.settings import ClientSettings

INTERRUPTED = 130


def watch(
    job_id: Annotated[str, typer.Argument(help="The id of a job: ftjob-...")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each event as a line of JSON, then the job.")
    ] = False,
) -> None:
    """Follow a job to its end; exit code 0 only when it succeeded."""
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        job = client.get(f"/fine_tuning/jobs/{job_id}")
        raise typer.Exit(watch_job(client, job, as_json=as_json))


def watch_job(client: Client, job: Json, *, as_json: bool) -> int:
    """Shows the job's events until it ended; 0 when it succeeded, else 1."""
    path = f"/fine_tuning/jobs/{job['id']}"
    status = ""
    try:
        with _screen(as_json=as_json) as screen:
            idleness = Idleness(client, path)
            for item in follow(client, f"{path}/events"):
                if isinstance(item, Ended):
                    status = item.status
                    continue
                if not isinstance(item, Quiet):
                    screen.show(item)
                if said := idleness.reason(item):
                    screen.note(said)
    except KeyboardInterrupt:
        typer.echo(f"the job goes on; `flant5 watch {job['id']}` shows it again", err=True)
        return INTERRUPTED
    if as_json:
        print_json(client.get(path))
    elif status == "succeeded":
        typer.echo(f"get the model with `flant5 download {job['id']} DIRECTORY`")
    return 0 if status == "succeeded" else 1


class _Screen(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, event: Json) -> None: ...

    def note(self, text: str) -> None: ...


def _screen(*, as_json: bool) -> _Screen:
    if as_json:
        return _JsonLines()
    return _Bar() if Console().is_terminal else _Lines()


class _Lines:
    """For a pipe or a log file: one line per event."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.stdout.flush()

    def show(self, event: Json) -> None:
        numbers = _numbers(event["data"]) if event["type"] == "metrics" else ""
        self.note(f"{event['message']}{numbers and f' ({numbers})'}")

    def note(self, text: str) -> None:
        typer.echo(text)
        sys.stdout.flush()


class _JsonLines(_Lines):
    """For programs."""

    def show(self, event: Json) -> None:
        print_json(event)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Nothing: the last document has it, and no other is an event."""


class _Bar:
    """For people: messages scroll by above one bar."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[numbers]}"),
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, event: Json) -> None:
        data = event["data"]
        if event["type"] == "metrics" and "max_steps" in data:
            if self._bar is None:
                self._bar = self._progress.add_task("training", total=1, numbers="")
            self._progress.update(
                self._bar,
                total=data["max_steps"],
                completed=data["step"],
                numbers=f"loss {data['loss']:.3f}  {_numbers(data)}",
            )
            return
        if self._bar is not None and "phase" in data:
            self._progress.update(self._bar, description=str(data["phase"]))
        self._progress.console.print(event["message"], style=_STYLES[event["level"]], markup=False)

    def note(self, text: str) -> None:
        self._progress.console.print(text, style="dim", markup=False)


_STYLES = {"info": "", "warn": "yellow", "error": "red"}


def _numbers(data: Json) -> str:
    """
    >>> _numbers({"tokens_per_second": 812.3, "eta_seconds": 65})
    '812 tokens/s, 1m05s left'
    """
    parts = []
    if data.get("tokens_per_second") is not None:
        parts.append(f"{data['tokens_per_second']:,.0f} tokens/s")
    if data.get("mfu") is not None:
        parts.append(f"{data['mfu']:.0%} MFU")
    if data.get("eta_seconds") is not None:
        parts.append(f"{duration(data['eta_seconds'])} left")
    return ", ".join(parts)
