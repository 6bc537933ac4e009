"""The harness itself, on the real service."""

from itertools import islice
from pathlib import Path

import pytest

from tests.chaos.faults import KINDS, plan
from tests.chaos.report import read_reports, table
from tests.chaos.run import Dose, run_chaos


def test_the_faults_follow_from_the_seed() -> None:
    first, again, other = (list(islice(plan(seed), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {fault.kind for fault in first} == set(KINDS)


@pytest.mark.chaos
def test_the_service_keeps_its_promises_under_faults(tmp_path: Path) -> None:
    report = run_chaos(tmp_path / "home", Dose(seed=1, num_faults=25), say=print)
    assert report.violations == (), report.account()
    assert report.num_faults == 25
    assert report.num_resumes > 0
    path = tmp_path / "1.json"
    path.write_text(report.model_dump_json(), encoding="utf-8")
    assert read_reports([path]) == [report]
    assert f"| {report.num_faults} | {sum(report.ends.values())} |" in table([report])
