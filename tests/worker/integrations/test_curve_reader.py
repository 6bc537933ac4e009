"""The curves of a run that is read as it grows, interrupted or not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.integrations.runs import (
    INTERRUPTED,
    evaluation,
    expected_points,
    points_of,
    read_all,
    started,
    step,
    write,
)
from worker.integrations.export_task import MetricReader, Step, flatten


def test_a_run_that_was_killed_is_one_clean_run(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    write(path, *INTERRUPTED)
    steps = read_all(path)
    assert [each.number for each in steps] == [1, 2, 3, 4, 5, 6]
    assert dict(points_of(steps)) == expected_points(INTERRUPTED)
    assert len(points_of(steps)) == len(expected_points(INTERRUPTED))
    assert ("eval/loss", 5) in dict(points_of(steps))  # told by the second start alone


def test_a_step_is_given_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    reader = MetricReader(path)
    assert list(reader.read()) == []
    write(path, started(0), step(1))
    assert list(reader.read()) == []
    write(path, evaluation(1), step(2))
    (first,) = reader.read()
    assert {"train/loss", "eval/loss"} <= first.points.keys()
    assert list(reader.read()) == []
    with path.open("a") as file:
        file.write('{"type":"step","at":1')
    assert list(reader.read()) == []
    assert [each.number for each in reader.rest()] == [2]


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_the_points_do_not_depend_on_when_the_file_is_looked_at(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("run") / "progress.jsonl"
    reader, left = MetricReader(path), list(INTERRUPTED)
    steps: list[Step] = []
    for size in sizes:
        write(path, *left[:size])
        left = left[size:]
        steps += reader.read()
    write(path, *left)
    steps += [*reader.read(), *reader.rest()]
    assert sorted(points_of(steps)) == sorted(expected_points(INTERRUPTED).items())


def test_a_summary_has_dotted_names() -> None:
    report = {"pairs": 3, "left_out": {"empty": 1}, "cut": None, "examples": [1]}
    assert flatten(report, prefix="data.train") == {
        "data.train.pairs": "3",
        "data.train.left_out.empty": "1",
    }
