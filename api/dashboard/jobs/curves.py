"""Charts of one job."""

import math
from collections.abc import Mapping

from nicegui import ui

from api.dashboard.curve_chart import COLORS, Changes, CurveChart, Line
from api.dashboard.jobs.live_curve import EVALUATION, SMOOTH, SMOOTHED, TRAIN, Column, LiveCurve

_CHARTS = {
    "Loss": (
        Line("loss", "each step", "loss", COLORS[0], is_faint=True),
        Line(SMOOTHED, "smoothed", SMOOTHED, COLORS[0]),
        Line("eval_loss", "validation", "eval_loss", COLORS[1], has_marks=True),
    ),
    "Learning rate": (Line("learning_rate", "learning rate", "learning_rate", COLORS[2]),),
    "Gradient norm": (
        Line("grad_norm", "each step", "grad_norm", COLORS[3], is_faint=True),
        Line("smoothed_grad_norm", "smoothed", "smoothed_grad_norm", COLORS[3]),
    ),
    "Tokens per second": (
        Line("tokens_per_second", "each step", "tokens_per_second", COLORS[6], is_faint=True),
        Line("smoothed_tokens_per_second", "smoothed", "smoothed_tokens_per_second", COLORS[6]),
    ),
    "GPU memory (GB)": (
        Line("gpu_memory_bytes", "GPU memory", "gpu_memory_bytes", COLORS[4], unit=1e9),
    ),
    "Sample answer scores": (
        Line(
            "eval_token_accuracy",
            "token accuracy",
            "eval_token_accuracy",
            COLORS[2],
            has_marks=True,
        ),
        Line("eval_exact_match", "exact match", "eval_exact_match", COLORS[1], has_marks=True),
        Line("eval_rouge_l", "ROUGE-L", "eval_rouge_l", COLORS[3], has_marks=True),
    ),
}


_FROM_ZERO = ("Tokens per second", "GPU memory (GB)")
"""Charts whose y axis starts at zero. Otherwise, tiny changes would look large."""


class JobCurves:
    """Charts of one job. A chart is hidden until it has data."""

    def __init__(self) -> None:
        self._waiting = ui.label("Charts appear once training starts.").classes("quiet")
        with ui.element("div").classes("charts"):
            self._charts = {
                title: CurveChart(title, lines, from_zero=title in _FROM_ZERO)
                for title, lines in _CHARTS.items()
            }
        for chart in self._charts.values():
            chart.whole.set_visibility(False)
        self._charts["Loss"].whole.classes("wide")

    def changes(self, curve: LiveCurve) -> dict[str, Changes]:
        """Returns the updates by chart title, without empty charts. May be called in a thread."""
        columns = {name: curve.column(name) for name in (*TRAIN, *SMOOTH, *EVALUATION)}
        return {
            title: chart.changes(columns)
            for title, chart in self._charts.items()
            if any(_has_numbers(columns[line.column]) for line in _CHARTS[title])
        }

    def show(self, changes: Mapping[str, Changes]) -> None:
        """Sends the updates to the browser."""
        for title, changed in changes.items():
            self._charts[title].whole.set_visibility(True)
            self._waiting.set_visibility(False)
            self._charts[title].show(changed)


def _has_numbers(column: Column) -> bool:
    return any(math.isfinite(value) for value in column.values)
