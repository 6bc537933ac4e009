"""What a browser is sent of a curve that grows, goes back, and gets long."""

import math
import random
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import pytest

from api.dashboard.jobs.live_curve import (
    EVALUATION,
    SMOOTH,
    SMOOTHED,
    TRAIN,
    ChartDelta,
    ChartUpdater,
    Column,
    LiveCurve,
)
from api.dashboard.jobs.sparkline import Sparklines
from api.services.outputs import read_curve
from flant5_train.protocol.progress import Evaluated, Record, StepTrained, TrainingStarted


def step(number: int, loss: float = 1.0) -> StepTrained:
    return StepTrained(
        step=number,
        max_steps=100,
        epoch=0.1,
        loss=loss,
        learning_rate=1e-4,
        tokens_seen=number,
        tokens_per_second=10.0,
        eta_seconds=1.0,
    )


def start(number: int) -> TrainingStarted:
    return TrainingStarted(step=number, max_steps=100, num_pairs=9, num_processes=1)


def evaluated(number: int) -> Evaluated:
    return Evaluated(step=number, eval_loss=2.0, eval_token_accuracy=0.5, eval_tokens=9)


def write(path: Path, records: Iterable[Record], *, end: str = "\n") -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(record.model_dump_json() for record in records) + end)


RESUMED: tuple[Record, ...] = (
    *(start(0), step(1, 5.0), step(2, 4.0), evaluated(2), step(3, 3.0), step(4, 2.0), evaluated(4)),
    *(start(2), step(3, 3.5), step(4, 2.5), step(5, 1.5)),
)


def test_a_curve_read_piece_by_piece_is_the_one_that_callers_get(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    curve = LiveCurve(path)
    assert curve.max_steps == 0
    for record in RESUMED:
        curve.refresh()
        write(path, [record])
    write(path, [step(6)], end="")  # still being written
    curve.refresh()
    expected = read_curve(path)
    for name in (*TRAIN, *EVALUATION):
        column = curve.column(name)
        is_eval = name in EVALUATION
        assert list(column.steps) == list(expected.eval_step if is_eval else expected.step)
        values = [None if math.isnan(value) else value for value in column.values]
        assert values == list(getattr(expected, name))
    assert [len(curve.column(name).values) for name in SMOOTH] == [5, 5, 5]
    assert curve.max_steps == 100


def test_smooth_columns_are_means_that_forget(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    write(path, [start(0), step(1, 4.0), step(2, 2.0), step(3, 0.0)])
    curve = LiveCurve(path)
    curve.refresh()
    assert list(curve.column(SMOOTHED).values) == pytest.approx([4, 3, 2])
    speeds = curve.column("tokens_per_second").values
    assert curve.column("smoothed_tokens_per_second").values[-1] == pytest.approx(fmean(speeds))


def test_a_step_that_comes_again_without_a_start_takes_the_place_of_the_first(
    tmp_path: Path,
) -> None:
    path = tmp_path / "progress.jsonl"
    write(path, [start(0), step(1), step(2), step(3), step(2, 7.0)])
    curve = LiveCurve(path)
    curve.refresh()
    assert list(curve.column("loss").steps) == [1, 2]
    assert list(curve.column("loss").values) == [1.0, 7.0]


def grown(shown: list[tuple[float, float]], delta: ChartDelta | None) -> list[tuple[float, float]]:
    """As the browser does it."""
    return shown if delta is None else shown[: delta.kept] + list(delta.points)


@pytest.mark.parametrize("is_smooth", [False, True])
def test_a_browser_that_is_sent_what_is_new_shows_what_one_that_comes_later_does(
    is_smooth: bool,
) -> None:
    dice = random.Random(7)
    values = [dice.random() if dice.random() > 0.1 else math.nan for _ in range(5000)]
    sender, num_rows, num_sent = ChartUpdater(is_smooth=is_smooth), 0, 0
    shown: list[tuple[float, float]] = []
    while num_rows < len(values):
        num_rows = min(len(values), num_rows + dice.randint(0, 90))
        column = Column(range(num_rows), values[:num_rows], generation=0)
        delta = sender.delta(column)
        num_sent += len(delta.points) if delta else 0
        shown = grown(shown, delta)
        assert shown == grown([], ChartUpdater(is_smooth=is_smooth).delta(column))
    assert len(shown) <= 1200
    assert num_sent < 10_000  # all points each time would be 80,000


def test_nothing_is_sent_of_a_curve_that_stands_still() -> None:
    sender, column = ChartUpdater(), Column([1, 2], [3.0, 4.0], generation=0)
    assert sender.delta(column) == ChartDelta(0, ((1, 3.0), (2, 4.0)))
    assert sender.delta(column) is None


def test_a_run_that_went_back_is_sent_anew() -> None:
    sender = ChartUpdater()
    sender.delta(Column([1, 2, 3], [3.0, 4.0, 5.0], generation=0))
    assert sender.delta(Column([1, 2, 3], [3.0, 4.0, 6.0], generation=1)) == ChartDelta(
        0, ((1, 3.0), (2, 4.0), (3, 6.0))
    )


def test_a_sparkline_reads_a_small_part_of_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    write(path, (step(number, 10 - number / 1000) for number in range(1, 8001)))
    points = Sparklines().of(path).split()
    assert 20 < len(points) <= 130
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights)
    assert Sparklines().of(tmp_path / "none") == ""
