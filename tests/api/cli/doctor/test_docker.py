"""The engine, compose and their disk, asked through programs that answer as the real ones do."""

from pathlib import Path

import pytest

from api.cli.doctor.check import State
from api.cli.doctor.docker import check_compose, check_data_root, check_engine
from tests.api.cli.doctor.programs import (
    CONTAINER,
    FINDS_NO_ENGINE,
    PLAIN,
    REFUSES_THE_USER,
    put,
    put_docker,
)
from tests.small_disk import small_disk


def test_an_engine_that_answers_is_fine(programs: Path) -> None:
    put_docker(programs)
    assert check_engine(PLAIN).found == "Docker engine 28.2.2"
    assert check_compose(PLAIN).found == "Docker Compose 2.39.1"


def test_without_docker_the_way_out_is_named(programs: Path) -> None:
    finding = check_engine(PLAIN)
    assert (finding.state, finding.found) == (State.FAILED, "`docker` is not on PATH")
    assert "docs/deploy.md" in finding.remedy
    assert "flant5 up" in finding.remedy
    assert check_compose(PLAIN).state is State.FAILED


def test_inside_a_container_there_is_no_engine_to_ask(programs: Path) -> None:
    for check in (check_engine, check_compose, check_data_root):
        finding = check(CONTAINER)
        assert finding.state is State.NOT_APPLICABLE
        assert "inside a container" in finding.found


@pytest.mark.parametrize(
    ("script", "found", "remedy"),
    [
        (REFUSES_THE_USER, "has no access to Docker", "usermod -aG docker"),
        (FINDS_NO_ENGINE, "unix:///var/run/docker.sock", "systemctl enable --now docker"),
        ("echo 'flag provided but not defined' >&2; exit 2", "flag provided", "systemctl"),
        ('echo \'{"Server": {"Version": "19.03.1"}}\'', "engine 19.03.1", "deploy.md"),
    ],
)
def test_an_engine_that_is_no_use_is_told_with_its_remedy(
    programs: Path, script: str, found: str, remedy: str
) -> None:
    put(programs, "docker", script)
    finding = check_engine(PLAIN)
    assert finding.state is State.FAILED
    assert found in finding.found
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("2.24.4", State.OK),
        ("v2.26.1-4", State.OK),
        ("5.0.0", State.OK),
        ("2.24.3", State.FAILED),
        ("2.20.2+ds1-0ubuntu1", State.FAILED),
    ],
)
def test_compose_has_to_know_override(programs: Path, version: str, state: State) -> None:
    put(programs, "docker", f"echo {version}")
    finding = check_compose(PLAIN)
    assert finding.state is state
    assert version in finding.found


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (
            "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1",
            "Docker Compose plugin not found",
        ),
        ("echo 'unknown flag: --short' >&2; exit 125", "Docker Compose plugin not found"),
        ("echo 'exec format error' >&2; exit 1", "Docker Compose does not work: exec format error"),
    ],
)
def test_an_engine_without_compose_is_told(programs: Path, script: str, found: str) -> None:
    put(programs, "docker", script)
    finding = check_compose(PLAIN)
    assert (finding.state, finding.found) == (State.FAILED, found)
    assert "docker-compose-plugin" in finding.remedy


def test_a_disk_of_the_engine_that_is_nearly_full_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", num_bytes=2**20) as disk:
        put_docker(tmp_path / "bin", DockerRootDir=str(disk))
        with monkeypatch.context() as meanwhile:
            meanwhile.setenv("PATH", str(tmp_path / "bin"))
            finding = check_data_root(PLAIN)
    assert finding.state is State.FAILED
    assert f"1.0 MiB free in {disk}" in finding.found
    assert "docker builder prune" in finding.remedy


def test_the_disk_of_an_engine_elsewhere_is_not_judged(programs: Path) -> None:
    put_docker(programs, DockerRootDir="/nowhere/docker")
    assert check_data_root(PLAIN).state is State.NOT_APPLICABLE
    put(programs, "docker", FINDS_NO_ENGINE)
    assert check_data_root(PLAIN).state is State.NOT_APPLICABLE
