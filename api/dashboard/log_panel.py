"""The log of one job: its last lines, those that come, and a search in all of it."""

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from api.dashboard.frame import heading
from api.dashboard.live import Fresh
from api.dashboard.log_search import LogMatches, search_log
from api.dashboard.visitor import Visitor
from worker.jobs.events import LogLine

_TAIL = 300
_MAX_LINES = 1000
_PAGE = 1000
_SECONDS = 1.0


class LogPanel:
    """Follows until somebody scrolls up; a new line then waits below."""

    def __init__(self, visitor: Visitor, job_id: str) -> None:
        self._visitor = visitor
        self._job_id = job_id
        self._cursor: str | None = None
        with ui.element("section").classes("card wide"):
            with ui.row().classes("spread"):
                heading("Log")
                words = ui.input(placeholder="Search all of it …", on_change=self._search)
                words.props('outlined dense clearable debounce=300 aria-label="Search the log"')
                words.classes("words-filter")
            self._note = ui.label().classes("quiet")
            self._live = ui.log(max_lines=_MAX_LINES).classes("log live-log")
            self._found = ui.log(max_lines=_MAX_LINES).classes("log found-log")
            self._found.set_visibility(False)
        self._note.set_text("Nothing was written yet.")
        self._words = ""
        Fresh(self._read, self._show, seconds=_SECONDS)

    def _read(self) -> tuple[LogLine, ...]:
        self._visitor.job(self._job_id)
        history = self._visitor.services.history
        if self._cursor is None:
            return history.logs(self._job_id, tail=_TAIL).items
        return history.logs(self._job_id, after=self._cursor, limit=_PAGE).items

    def _show(self, lines: tuple[LogLine, ...]) -> None:
        if not lines:
            return
        if self._cursor is None:
            self._note.set_text("" if self._words else self._how_much(lines[0].seq))
        self._cursor = lines[-1].id
        for line in lines:
            self._live.push(line.line or " ")

    @staticmethod
    def _how_much(first: int) -> str:
        return "" if first == 1 else f"From line {first} on; the search finds the lines before too."

    async def _search(self, event: ValueChangeEventArguments[str | None]) -> None:
        words = self._words = (event.value or "").strip()
        self._found.set_visibility(bool(words))
        self._live.set_visibility(not words)
        if not words:
            self._note.set_text("")
            return
        job = await run_in_threadpool(self._visitor.job, self._job_id)
        path = self._visitor.services.home.run_directory(job.id).log
        matches = await run_in_threadpool(search_log, path, words)
        if words == self._words:
            self._show_found(matches)

    def _show_found(self, matches: LogMatches) -> None:
        shown = len(matches.lines)
        rest = "" if shown == matches.num_found else f", the last {shown} of which are shown"
        self._note.set_text(f"{matches.num_found} lines found{rest}.")
        self._found.clear()
        for line in matches.lines:
            self._found.push(line)
