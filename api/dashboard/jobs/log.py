"""Log panel of one job: last lines, new lines, and a text search of the whole `train.log`."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.layout import Poller, heading
from worker.jobs.events import LogLine

MAX_FOUND = 300
_MAX_LINE = 2000


@dataclass(frozen=True, slots=True)
class LogMatches:
    """The last lines that contain the text."""

    num_found: int
    lines: tuple[str, ...]
    """Lines with their numbers, as `12: text`."""


def search_log(path: Path, terms: str) -> LogMatches:
    """Searches case-insensitively; returns no lines if there is no log."""
    wanted, num_found = terms.lower().encode(), 0
    last: deque[str] = deque(maxlen=MAX_FOUND)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if wanted in line.lower():
                    num_found += 1
                    text = line[:_MAX_LINE].decode(errors="replace").rstrip("\r\n")
                    last.append(f"{number}: {text}")
    except FileNotFoundError:
        return LogMatches(0, ())
    return LogMatches(num_found, tuple(last))


_TAIL = 300
_MAX_LINES = 1000
_PAGE = 1000


class _Lines:
    """The last lines, one element per batch.

    With one element per line, the log would cost more than the rest of the page.
    """

    def __init__(self, name: str) -> None:
        self.box = ui.log().classes(f"log {name}")
        self._pieces: deque[tuple[ui.label, int]] = deque()
        self._num_lines = 0

    def append(self, lines: Sequence[str]) -> None:
        """Appends lines and drops the oldest batches beyond the limit."""
        if not lines:
            return
        with self.box:
            self._pieces.append((ui.label("\n".join(lines) or " "), len(lines)))
        self._num_lines += len(lines)
        while self._num_lines - self._pieces[0][1] >= _MAX_LINES:
            piece, count = self._pieces.popleft()
            piece.delete()
            self._num_lines -= count

    def clear(self) -> None:
        """Removes all lines."""
        self.box.clear()
        self._pieces.clear()
        self._num_lines = 0


class LogPanel:
    """Follows the log unless the user scrolls up."""

    def __init__(self, user: SessionUser, job_id: str) -> None:
        self._user = user
        self._job_id = job_id
        self._cursor: str | None = None
        with ui.element("section").classes("card wide"):
            with ui.row().classes("spread"):
                heading("Log")
                terms = ui.input(placeholder="Search the log", on_change=self._search)
                terms.props('outlined dense clearable debounce=300 aria-label="Search the log"')
                terms.classes("text-filter")
            self._note = ui.label().classes("quiet")
            self._live = _Lines("live-log")
            self._found = _Lines("found-log")
            self._found.box.set_visibility(False)
        self._note.set_text("No output yet.")
        self._terms = ""
        Poller(self._read, self._show)

    def _read(self) -> tuple[LogLine, ...]:
        self._user.job(self._job_id)
        history = self._user.services.history
        if self._cursor is None:
            return history.logs(self._job_id, tail=_TAIL).items
        return history.logs(self._job_id, after=self._cursor, limit=_PAGE).items

    def _show(self, lines: tuple[LogLine, ...]) -> None:
        if not lines:
            return
        if self._cursor is None:
            self._note.set_text("" if self._terms else self._how_much(lines[0].seq))
        self._cursor = lines[-1].id
        self._live.append([line.line for line in lines])

    @staticmethod
    def _how_much(first: int) -> str:
        return "" if first == 1 else f"Shown from line {first}. Search covers the whole log."

    async def _search(self, event: ValueChangeEventArguments[str | None]) -> None:
        terms = self._terms = (event.value or "").strip()
        self._found.box.set_visibility(bool(terms))
        self._live.box.set_visibility(not terms)
        if not terms:
            self._note.set_text("")
            return
        job = await run_in_threadpool(self._user.job, self._job_id)
        path = self._user.services.home.run_directory(job.id).log
        matches = await run_in_threadpool(search_log, path, terms)
        if terms == self._terms:
            self._show_found(matches)

    def _show_found(self, matches: LogMatches) -> None:
        shown = len(matches.lines)
        rest = "" if shown == matches.num_found else f" (the last {shown} are shown)"
        self._note.set_text(f"{matches.num_found} lines found{rest}.")
        self._found.clear()
        self._found.append(matches.lines)
