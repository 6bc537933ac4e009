"""The containers of the deployment, in each state that compose tells of."""

import json
from pathlib import Path

import pytest

from api.cli.doctor.check import Finding, State
from api.cli.doctor.docker import check_containers
from tests.api.cli.doctor.programs import container, put, put_docker

ALL = [container(name) for name in ("redis", "api", "controller", "worker-cpu")]


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    directory = tmp_path / "deployment"
    directory.mkdir()
    (directory / "docker-compose.yml").write_text("services: {}\n")
    return directory


def seen(programs: Path, deployment: Path, containers: list[dict[str, str]]) -> Finding:
    put_docker(programs, containers="\n".join(map(json.dumps, containers)))
    return check_containers(deployment)


def test_running_and_healthy_is_fine(programs: Path, deployment: Path) -> None:
    finding = seen(programs, deployment, ALL)
    assert finding.state is State.OK
    assert "worker-cpu healthy" in finding.found
    put_docker(programs, containers=json.dumps(ALL))
    assert check_containers(deployment) == finding


@pytest.mark.parametrize(
    "bad", [container("api", health="unhealthy"), container("api", state="restarting", health="")]
)
def test_a_container_that_is_not_well_has_failed(
    programs: Path, deployment: Path, bad: dict[str, str]
) -> None:
    finding = seen(programs, deployment, [*ALL[:1], bad, *ALL[2:]])
    assert finding.state is State.FAILED
    assert finding.remedy == "docker compose logs --tail 50 api"


def test_a_part_that_is_missing_is_told(programs: Path, deployment: Path) -> None:
    finding = seen(programs, deployment, ALL[:2])
    assert finding.state is State.WARNING
    assert "no controller, no worker" in finding.found


def test_before_the_first_start_nothing_is_judged(
    programs: Path, deployment: Path, tmp_path: Path
) -> None:
    assert "docker compose up" in seen(programs, deployment, []).found
    assert "no docker-compose.yml" in check_containers(tmp_path).found
    put(programs, "docker", "echo 'no configuration' >&2; exit 1")
    assert check_containers(deployment).state is State.NOT_APPLICABLE
    (programs / "docker").unlink()
    assert check_containers(deployment).state is State.NOT_APPLICABLE
