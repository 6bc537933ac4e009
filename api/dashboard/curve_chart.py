"""Incrementally updated chart. The browser keeps the points and receives only new ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from api.dashboard.buckets import PointSender
from api.dashboard.jobs.live_curve import SMOOTH, Column

COLORS = ("#4c78d8", "#e0823d", "#3a9d6e", "#b65fc4", "#c9a227", "#d1495b", "#4aa3a2", "#8d7b68")

Changes = list[list[Any]]
"""Per line: its id, the number of points to keep, the points to append."""


@dataclass(frozen=True, slots=True)
class Line:
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
        lines: Sequence[Line],
        *,
        height: str = "260px",
        from_zero: bool = False,
        in_percent: bool = False,
    ) -> None:
        self._lines = lines
        self._senders = {line.id: PointSender(is_smooth=line.column in SMOOTH) for line in lines}
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


def _options(lines: Sequence[Line], *, from_zero: bool, in_percent: bool) -> dict[str, Any]:
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


def _series(line: Line) -> dict[str, Any]:
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
