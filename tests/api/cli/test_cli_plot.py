"""The curves of `flant5 watch`."""

import math
from itertools import pairwise

import pytest

from api.cli.views.charts import Canvas, LossCurve, PlotCurve, draw, loss_plot
from api.cli.views.watch import WatchedJob

JOB = {"id": "ftjob-a", "model": "flant5-demo", "status": "running"}


def drawn(*points: tuple[float, float], width: int = 2, height: int = 1) -> list[str]:
    return [line.plain for line in draw([PlotCurve(points, "")], Canvas(width, height))]


def event(step: int, loss: float | None) -> dict[str, object]:
    data = {"step": step, "max_steps": 9, "loss": loss}
    return {"type": "metrics", "message": "", "level": "info", "data": data}


def test_a_line_goes_from_corner_to_corner() -> None:
    assert drawn((1, 2.0), (2, 1.0)) == ["⠑⢄"]
    assert drawn((1, 1.0), (2, 2.0)) == ["⡠⠊"]
    assert drawn((0, 0.0), (10, 10.0), width=2, height=2) == [" ⡜", "⡜ "]


def test_points_of_one_column_are_shown_by_their_mean() -> None:
    jagged = [(x / 1000, float(x % 2)) for x in range(1000)]
    assert drawn((-1, 0.0), *jagged, (2, 1.0), width=30, height=1)[0].count(" ") == 0


def test_numbers_that_are_none_and_lines_without_height_harm_nothing() -> None:
    assert drawn() == [""]
    assert drawn((1, math.nan), (2, math.inf)) == [""]
    assert drawn((1, 5.0), (2, math.nan), (3, 5.0)) == ["⠤⠤"]
    assert drawn((1, 5.0)) == [" ⠄"]


def test_the_plot_names_its_ends_and_takes_the_lines_it_is_given() -> None:
    training = [(float(step), 10.0 / step) for step in range(1, 51)]
    lines = [line.plain for line in loss_plot(training, [], canvas=Canvas(60, 10))]
    assert len(lines) == 10
    assert max(map(len, lines)) == 60
    assert lines[0].startswith("  10.000 │")
    assert lines[8].startswith("   0.200 │")
    assert lines[9].split() == ["1", "step", "50"]
    assert loss_plot(training[:1], [], canvas=Canvas(60, 10)) == []
    assert loss_plot(training, [], canvas=Canvas(12, 3)) == []
    ascii_lines = loss_plot(training, training, canvas=Canvas(60, 10, is_ascii=True))
    assert all(line.plain.isascii() for line in ascii_lines)


def test_a_resumed_run_draws_over_the_steps_that_it_trains_again() -> None:
    job = WatchedJob.of(JOB)
    for step, loss in ((1, 5.0), (2, 4.0), (3, 3.0), (2, 4.5), (3, None), (4, 2.0)):
        job.take(event(step, loss))
    assert job.loss.points == [(1, 5.0), (2, 4.5), (4, 2.0)]
    start = {"step": 2, "max_steps": 9, "num_pairs": 3, "num_processes": 1}
    job.take({"type": "message", "message": "Training goes on", "level": "info", "data": start})
    assert job.loss.points == [(1, 5.0), (2, 4.5)]


def test_a_long_run_stays_a_curve_of_few_points_everywhere_alike() -> None:
    curve = LossCurve()
    for step in range(1, 100_001):
        curve.put(step, 1.0 / step)
    assert curve.last is not None
    assert curve.last[0] == 100_000
    assert 2000 < len(curve.points) <= 4096
    steps = [step for step, _ in curve.points]
    gaps = {after - before for before, after in pairwise(steps[:-1])}
    assert gaps == {32}
    assert dict(curve.points)[31] == pytest.approx(sum(1 / step for step in range(1, 32)) / 31)
    curve.cut(50_000)
    assert curve.points[-1][0] == 49_983
    curve.put(50_001, 7.0)
    assert curve.points[-1] == (50_001, 7.0)
