"""Widgets for training files: selection, and the card with the report on a file.

A selection is an existing file or a new upload. The card shows the verdict, counts, problems and
warnings.
"""

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from nicegui.events import GenericEventArguments

from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.format import instant, number, size
from api.dashboard.ui.layout import Poller, run_with_error_toast
from api.http.errors import TooManyReportsError
from api.schemas.plans import ReportQuery
from flant5_train.protocol.file_report import FileReport, Problems
from worker.jobs.storage.files import StoredFile

_MAX_LISTED = 200
_TRAINABLE = "fine-tune"


def recent_files(user: SessionUser) -> tuple[StoredFile, ...]:
    """Returns the newest training files that the visitor may see."""
    caller = user.caller
    files = (file for file in user.services.files.all() if caller.may_see(file.owner))
    return tuple(islice((file for file in files if file.purpose == _TRAINABLE), _MAX_LISTED))


class FileChoice:
    """Calls `on_choice` with a file id, a path under the data root, or ''."""

    def __init__(self, user: SessionUser, chosen: str, on_choice: Callable[[str], Any]) -> None:
        self._user = user
        self._on_choice = on_choice
        self._chosen = chosen
        self._uploader()
        self._select = ui.select(
            {chosen: chosen} if chosen else {},
            label="Training file",
            value=chosen or None,
            with_input=True,
            clearable=True,
            new_value_mode="add-unique",
            on_change=lambda event: self._choose(event.value or ""),
        )
        hint = "an uploaded file, or a path relative to the server's data root"
        self._select.props(f'outlined dense hint="{hint}" aria-label="training_file"')
        ui.timer(0, self.load, once=True)

    async def load(self) -> None:
        """Reloads the list of files."""
        files = await run_with_error_toast(lambda: recent_files(self._user), done="")
        options = {file.id: _label(file) for file in files or ()}
        if self._chosen and self._chosen not in options:
            options[self._chosen] = self._chosen
        self._select.set_options(options, value=self._chosen or None)

    def _uploader(self) -> None:
        if not self._user.may_change:
            return
        limit = self._user.services.settings.max_file_bytes
        uploader = ui.upload(
            label="Drop a file of conversations here, or press +",
            auto_upload=True,
            max_file_size=limit,
            on_rejected=lambda: ui.notify(
                f"The file exceeds this page's limit of {size(limit)}. Upload it with "
                "`flant5 submit FILE` or the SDK's uploads API.",
                type="negative",
                multi_line=True,
            ),
        )
        uploader.props('url="/upload" field-name="file" flat bordered').classes("uploader")
        answer = "(info) => emit(info.xhr ? info.xhr.responseText : '')"
        uploader.on("uploaded", self._uploaded, js_handler=answer)
        uploader.on("failed", self._failed, js_handler=answer)

    async def _uploaded(self, event: GenericEventArguments) -> None:
        file_id = str(json.loads(event.args)["id"])
        stored = await run_in_threadpool(self._user.file, file_id)
        ui.notify(f"Uploaded {stored.filename}", type="positive")
        self._chosen = stored.id
        await self.load()

    def _failed(self, event: GenericEventArguments) -> None:
        try:
            message = str(json.loads(event.args)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = "The upload was interrupted. Try again."
        ui.notify(message, type="negative", multi_line=True, close_button="OK", timeout=0)

    def _choose(self, reference: str) -> None:
        self._chosen = reference
        self._on_choice(reference)


def _label(file: StoredFile) -> str:
    return f"{file.filename} · {size(file.num_bytes)} · {instant(file.created_at)}"


_MAX_LISTED_RECORDS = 20


class ReportCard:
    """Polls until the report is ready, then shows it."""

    def __init__(self, user: SessionUser, file_id: str, query: ReportQuery) -> None:
        self._user = user
        self._file_id = file_id
        self._query = query.model_copy(update={"wait_seconds": 0.0})
        self._box = ui.element("div").classes("report")
        with self._box, ui.row().classes("spread"):
            ui.spinner()
            ui.label("Checking the file …").classes("quiet")
        self._poller = Poller(self._read, self._show)

    def _read(self) -> FileReport | None:
        stored, caller = self._user.file(self._file_id), self._user.caller
        reports = self._user.services.reports
        try:
            return reports.ask(stored.id, self._query, owner=caller.owner_filter)
        except TooManyReportsError:
            return None  # retried at the next poll

    def _show(self, report: FileReport | None) -> None:
        if report is None:
            return
        self._poller.stop()
        self._box.clear()
        with self._box:
            _verdict(report)
            _figures(report)
            _problems("error", "Problems", report.problems)
            _problems("warning", "Warnings", report.warnings)


def _verdict(report: FileReport) -> None:
    with ui.row().classes("verdict " + ("good" if report.is_trainable else "bad")):
        ui.icon("check_circle" if report.is_trainable else "error")
        ui.label(
            "This file can be used for training."
            if report.is_trainable
            else "This file can't be used; see the problems below."
        )


def _figures(report: FileReport) -> None:
    cut, about = report.cut, "" if report.tokens.counted == "exact" else "about "
    figures = {
        "Conversations": number(report.conversations),
        "Pairs": number(report.pairs),
        "Size": size(report.bytes),
        "Input tokens": about + number(report.tokens.source_tokens),
        "Target tokens": about + number(report.tokens.target_tokens),
        "Truncated questions": number(cut.truncated_sources),
        "Truncated answers": number(cut.truncated_targets),
        "Duplicates": number(report.repeats.num_repeats),
    }
    figure_row(figures)


def figure_row(figures: dict[str, str]) -> None:
    """Draws values with their names below."""
    with ui.element("div").classes("figures"):
        for name, value in figures.items():
            with ui.element("div"):
                ui.label(value).classes("figure")
                ui.label(name).classes("quiet")


def _problems(icon: str, title: str, problems: Problems) -> None:
    if not problems.num_problems:
        return
    with ui.expansion(f"{title}: {problems.num_problems}", icon=icon).props("dense") as list_:
        shown = problems.listed[:_MAX_LISTED_RECORDS]
        for problem in shown:
            ui.label(str(problem)).classes("wrap mono")
        if (rest := problems.num_problems - sum(problem.count for problem in shown)) > 0:
            ui.label(f"and {rest} more").classes("quiet")
    list_.set_value(icon == "error")
