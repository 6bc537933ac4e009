"""Output of commands: one JSON document, or text and tables for people."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.cli.client import Json

_UNFOLDED = 10_000
_HOURS_AS_DAYS = 48


def print_json(document: object) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = ()
) -> None:
    """Prints aligned columns. Narrow terminals wrap all columns except those in `whole`."""
    console = Console()
    if not console.is_terminal:
        console.width = _UNFOLDED
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=name in whole)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def moment(seconds: float | None) -> str:
    """Formats a timestamp as local time."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """
    >>> duration(5), duration(125), duration(90061), duration(900_000)
    ('5s', '2m05s', '25h01m', '10d10h')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, of_hour = divmod(minutes, 60)
    if hours >= _HOURS_AS_DAYS:
        return f"{hours // 24}d{hours % 24:02d}h"
    if hours:
        return f"{hours}h{of_hour:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def size(num_bytes: int) -> str:
    """
    >>> size(12), size(2048), size(5 * 2**30)
    ('12 B', '2.0 KiB', '5.0 GiB')
    """
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = min(len(units) - 1, max(0, num_bytes.bit_length() - 1) // 10)
    number = num_bytes / 1024**power
    return f"{number:.1f} {units[power]}" if power else f"{num_bytes} B"


def plain(text: str) -> str:
    """Replaces non-printable characters: untrusted text must not control the terminal.

    >>> plain("a\\x1b[2Jb")
    'a\ufffd[2Jb'
    """
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def state_of(job: Json) -> str:
    """
    >>> state_of({"status": "running", "phase": "training", "progress": {"percent": 16.0}})
    'running: training, 16 %'
    """
    state: str = job["status"]
    if job["phase"]:
        state += f": {job['phase']}"
    if job["status"] == "running" and job["progress"] and job["progress"]["percent"]:
        state += f", {job['progress']['percent']:.0f} %"
    return state
