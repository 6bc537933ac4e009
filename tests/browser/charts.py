"""What the charts of a page show: read from the charts themselves."""

from typing import Any

from playwright.sync_api import Page

_CHARTS = "Object.keys(flant5.series).map((id) => getElement(id)).filter((each) => each?.chart)"
_DRAWN = f"""{_CHARTS}.map(({{ chart }}) => Object.fromEntries(
    chart.getOption().series.map((line) => [line.id, line.data ?? []])))"""

Points = list[list[float]]


def wait_for_charts(page: Page, *, num_charts: int = 1, num_lines: int = 1) -> None:
    """Until so many charts show so many lines or more each."""
    shown = f"{_DRAWN}.map((chart) => Object.values(chart).filter((line) => line.length).length)"
    page.wait_for_function(
        f"{shown}.filter((lines) => lines >= {num_lines}).length >= {num_charts}"
    )


def wait_for_points(page: Page, line: str, *, num_points: int) -> None:
    """Until a line with this id has so many points or more."""
    shown = f"{_DRAWN}.some((chart) => (chart['{line}'] ?? []).length >= {num_points})"
    page.wait_for_function(shown)


def drawn(page: Page, line: str) -> dict[str, Points]:
    """The lines of the chart that has this one, by their ids; none when there is no such chart."""
    charts: list[dict[str, Any]] = page.evaluate(_DRAWN)
    return next((chart for chart in charts if line in chart), {})


def hand_options_again(page: Page) -> None:
    """What NiceGUI does when a chart, or what is around it, changes."""
    page.evaluate(f"{_CHARTS}.forEach((chart) => chart.update_chart())")
