"""Charts of one job, updated incrementally.

The browser keeps the points and receives only new ones.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from api.dashboard.jobs.live_curve import (
    EVALUATION,
    SMOOTH,
    SMOOTHED,
    TRAIN,
    ChartUpdater,
    Column,
    LiveCurve,
)

COLORS = ("#4c78d8", "#e0823d", "#3a9d6e", "#b65fc4", "#c9a227", "#d1495b", "#4aa3a2", "#8d7b68")

Changes = list[list[Any]]
"""Per line: its id, the number of points to keep, the points to append."""


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line of a chart."""

    id: str
    name: str
    column: str
    """Name of a column of a `LiveCurve`."""
    color: str
    is_faint: bool = False
    has_marks: bool = False
    unit: float = 1.0
    """Size of one axis unit, in the column's unit."""


class CurveChart:
    """Line chart over optimizer steps, or over percent of the training."""

    def __init__(
        self,
        title: str,
        lines: Sequence[ChartLine],
        *,
        height: str = "260px",
        from_zero: bool = False,
        in_percent: bool = False,
    ) -> None:
        self._lines = lines
        self._senders = {line.id: ChartUpdater(is_smooth=line.column in SMOOTH) for line in lines}
        self.whole = ui.element("section").classes("card chart")
        with self.whole:
            ui.label(title).classes("heading").props('role="heading" aria-level="2"')
            options = _options(lines, from_zero=from_zero, in_percent=in_percent)
            self._chart = ui.echart(options).style(f"height: {height}")

    def changes(
        self, columns: Mapping[str, Column], steps_per_percent: Mapping[str, float] | None = None
    ) -> Changes:
        """Returns the updates since the last call, which the caller must pass to `show`.

        `columns` and `steps_per_percent` are keyed by line id. May be called in a thread.
        """
        found: Changes = []
        for line in self._lines:
            if delta := self._senders[line.id].delta(columns[line.id]):
                steps = 1.0 if steps_per_percent is None else steps_per_percent[line.id]
                points = [(step / steps, value / line.unit) for step, value in delta.points]
                found.append([line.id, delta.kept, points])
        return found

    def show(self, changes: Changes) -> None:
        """Sends the updates to the browser."""
        if changes:
            script = f"flant5.grow({self._chart.id}, {json.dumps(changes)})"
            self._chart.client.run_javascript(script)


def _options(lines: Sequence[ChartLine], *, from_zero: bool, in_percent: bool) -> dict[str, Any]:
    label = {"hideOverlap": True, "color": "#7d8795"}
    axis = {"type": "value", "scale": True, "axisLabel": label}
    grid_line = {"lineStyle": {"color": "rgba(128,140,155,0.18)"}}
    top = 34 if len(lines) > 1 else 12
    return {
        "animation": False,
        "grid": {"left": 8, "right": 30, "top": top, "bottom": 8, "containLabel": True},
        "legend": {
            "top": 0,
            "left": 0,
            "type": "scroll",
            "icon": "roundRect",
            "itemWidth": 14,
            "itemHeight": 4,
            "textStyle": {"color": "#7d8795"},
            "show": len(lines) > 1,
        },
        # Rich text, not HTML: job names are user input.
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True},
        "xAxis": {
            **axis,
            "minInterval": 1,
            "splitLine": {"show": False},
            "axisLabel": {**label, "formatter": "{value} %"} if in_percent else label,
        },
        "yAxis": {**axis, "scale": not from_zero, "splitLine": grid_line},
        "dataZoom": [{"type": "inside", "filterMode": "none", "zoomOnMouseWheel": "shift"}],
        "series": [_series(line) for line in lines],
    }


def _series(line: ChartLine) -> dict[str, Any]:
    """Returns the options of a series, without `data`.

    NiceGUI may send these options again to a chart with points. An empty list would remove them.
    """
    opacity = 0.3 if line.is_faint else 1
    return {
        "id": line.id,
        "name": line.name,
        "type": "line",
        "showSymbol": line.has_marks,
        "symbolSize": 6,
        "color": line.color,
        "lineStyle": {"width": 1 if line.is_faint else 1.6, "opacity": opacity},
        "itemStyle": {"opacity": opacity},  # of the mark in the legend
        "z": 2 if line.is_faint else 3,
    }


_CHARTS = {
    "Loss": (
        ChartLine("loss", "each step", "loss", COLORS[0], is_faint=True),
        ChartLine(SMOOTHED, "smoothed", SMOOTHED, COLORS[0]),
        ChartLine("eval_loss", "validation", "eval_loss", COLORS[1], has_marks=True),
    ),
    "Learning rate": (ChartLine("learning_rate", "learning rate", "learning_rate", COLORS[2]),),
    "Gradient norm": (
        ChartLine("grad_norm", "each step", "grad_norm", COLORS[3], is_faint=True),
        ChartLine("smoothed_grad_norm", "smoothed", "smoothed_grad_norm", COLORS[3]),
    ),
    "Tokens per second": (
        ChartLine("tokens_per_second", "each step", "tokens_per_second", COLORS[6], is_faint=True),
        ChartLine(
            "smoothed_tokens_per_second", "smoothed", "smoothed_tokens_per_second", COLORS[6]
        ),
    ),
    "GPU memory (GB)": (
        ChartLine("gpu_memory_bytes", "GPU memory", "gpu_memory_bytes", COLORS[4], unit=1e9),
    ),
    "Sample answer scores": (
        ChartLine(
            "eval_token_accuracy",
            "token accuracy",
            "eval_token_accuracy",
            COLORS[2],
            has_marks=True,
        ),
        ChartLine("eval_exact_match", "exact match", "eval_exact_match", COLORS[1], has_marks=True),
        ChartLine("eval_rouge_l", "ROUGE-L", "eval_rouge_l", COLORS[3], has_marks=True),
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
