"""Runs in a real MLflow server, read back by its REST API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flant5_train.protocol.progress import Record
from tests.worker.integrations.mlflow_server import MlflowServer, mlflow_server
from tests.worker.integrations.runs import (
    INTERRUPTED,
    JOB_ID,
    Shipped,
    assignment,
    expected_points,
    shipping,
    step,
    wait_until_followed,
    write,
)
from tests.worker.scenes import wait_until
from worker.jobs.job import Status

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def ships(server: MlflowServer, tmp_path: Path) -> "Ships":
    return Ships(server, tmp_path)


class Ships:
    """Ships the run of a directory into an experiment of its name."""

    def __init__(self, server: MlflowServer, directory: Path) -> None:
        self.server = server
        self.experiment = directory.name
        self.progress = directory / "progress.jsonl"
        settings = {"experiment": self.experiment, "tags": {"team": "a"}}
        self.task = assignment(
            directory,
            integration={"type": "mlflow", "mlflow": settings},
            account={"tracking_uri": server.url},
        )

    def has_exactly(self, *records: Record) -> bool:
        (run,) = self.server.runs(self.experiment)
        expected = {key: [pytest.approx(v)] for key, v in expected_points(records).items()}
        return self.server.points(run) == expected

    def shown(self, number: int) -> bool:
        """Whether the server has this step."""
        runs = self.server.runs(self.experiment)
        return bool(runs) and ("train/loss", number) in self.server.points(runs[0])


def test_a_run_is_there_with_all_that_is_known_of_it(ships: Ships) -> None:
    write(ships.progress, *INTERRUPTED)
    with shipping(ships.task) as shipped:
        assert shipped.end(Status.SUCCEEDED).is_done
    assert ships.has_exactly(*INTERRUPTED)
    (run,) = ships.server.runs(ships.experiment)
    assert (run["info"]["run_name"], run["info"]["status"]) == (JOB_ID, "FINISHED")
    params = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert (params["num_train_epochs"], params["model"]) == ("3.0", "flant5-demo")
    tags = {each["key"]: each["value"] for each in run["data"]["tags"]}
    assert tags["flant5.job_id"] == JOB_ID
    assert tags["flant5.metadata.team"] == tags["team"] == "a"
    assert tags["data.train.left_out.empty"] == "1"
    assert run["info"]["run_id"] in shipped.urls[0]


def test_points_come_as_the_run_grows_and_a_killed_shipper_doubles_none(ships: Ships) -> None:
    half = len(INTERRUPTED) // 2
    write(ships.progress, *INTERRUPTED[:half])
    with shipping(ships.task) as first:
        wait_until(lambda: ships.shown(3), seconds=120, what=str(first.reports))
        write(ships.progress, step(5))
        wait_until(lambda: ships.shown(4), seconds=120, what=str(first.reports))
        first.kill()
    write(ships.progress, *INTERRUPTED[half:])
    for status in (Status.PAUSED, Status.RUNNING, Status.FAILED):
        _ship(ships, status)
    assert ships.has_exactly(*INTERRUPTED)
    (run,) = ships.server.runs(ships.experiment)
    assert run["info"]["status"] == "FAILED"


def _ship(ships: Ships, status: Status) -> Shipped:
    with shipping(ships.task) as again:
        if status is Status.RUNNING:
            wait_until_followed(again)
            again.kill()
        else:
            assert again.end(status).is_done
    return again


def test_a_run_that_goes_on_after_its_end_is_the_same_one(ships: Ships) -> None:
    write(ships.progress, *INTERRUPTED)
    _ship(ships, Status.CANCELLED)
    assert ships.server.runs(ships.experiment)[0]["info"]["status"] == "KILLED"
    write(ships.progress, step(7))
    _ship(ships, Status.SUCCEEDED)
    assert ships.has_exactly(*INTERRUPTED, step(7))
    assert ships.server.runs(ships.experiment)[0]["info"]["status"] == "FINISHED"
