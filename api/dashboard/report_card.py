"""Card with the report on a file: verdict, counts, problems and warnings."""

from nicegui import ui

from api.dashboard.live import Fresh
from api.dashboard.ui.format import number, size
from api.dashboard.visitor import Visitor
from api.http.errors import TooManyReportsError
from api.schemas.reports import ReportQuery
from flant5_train.protocol.file_report import FileReport, Problems

_MAX_LISTED = 20


class ReportCard:
    """Polls until the report is ready, then shows it."""

    def __init__(self, visitor: Visitor, file_id: str, query: ReportQuery) -> None:
        self._visitor = visitor
        self._file_id = file_id
        self._query = query.model_copy(update={"wait_seconds": 0.0})
        self._box = ui.element("div").classes("report")
        with self._box, ui.row().classes("spread"):
            ui.spinner()
            ui.label("Checking the file …").classes("quiet")
        self._fresh = Fresh(self._read, self._show)

    def _read(self) -> FileReport | None:
        stored, caller = self._visitor.file(self._file_id), self._visitor.caller
        reports = self._visitor.services.reports
        try:
            return reports.ask(stored.id, self._query, owner=caller.limited_to)
        except TooManyReportsError:
            return None  # retried at the next poll

    def _show(self, report: FileReport | None) -> None:
        if report is None:
            return
        self._fresh.stop()
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
        shown = problems.listed[:_MAX_LISTED]
        for problem in shown:
            ui.label(str(problem)).classes("wrap mono")
        if (rest := problems.num_problems - sum(problem.count for problem in shown)) > 0:
            ui.label(f"and {rest} more").classes("quiet")
    list_.set_value(icon == "error")
