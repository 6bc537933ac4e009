"""Hosts that are not set up to train together."""

import socket
from pathlib import Path

import pytest

from worker.execution.gang import preflight_check
from worker.execution.records import AttemptRecord, write_attempt
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.leases import Rendezvous


def run_of(path: Path, *, host: str) -> RunDirectory:
    directory = RunDirectory(path, node=1)
    directory.run_config.write_text("{}")
    record = AttemptRecord(epoch=1, attempt=1, worker="gpu-0", host=host, started_at=1.0)
    write_attempt(directory.attempt, record)
    return directory


def test_a_home_that_is_not_shared_is_told_by_the_file_that_is_missing(tmp_path: Path) -> None:
    found = preflight_check(RunDirectory(tmp_path, node=1), Rendezvous("10.0.0.7", 29_500))
    assert found is not None
    assert found.startswith(f"{tmp_path}/run.json, which the leader wrote, is not on host")
    assert "expected FLANT5_HOME to be one directory" in found


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "::1", "localhost"])
def test_an_address_of_the_leader_that_no_other_host_reaches_is_told(
    tmp_path: Path, address: str
) -> None:
    found = preflight_check(run_of(tmp_path, host="elsewhere"), Rendezvous(address, 29_500))
    assert found is not None
    expected = f"worker gpu-0 on host elsewhere waits for the other workers at {address}"
    assert found.startswith(expected)


@pytest.mark.parametrize("address", ["10.0.0.7", "gpu-host-7"])
def test_an_address_that_others_reach_is_no_obstacle(tmp_path: Path, address: str) -> None:
    assert preflight_check(run_of(tmp_path, host="elsewhere"), Rendezvous(address, 29_500)) is None


def test_two_workers_of_one_host_may_meet_on_it(tmp_path: Path) -> None:
    here = run_of(tmp_path, host=socket.gethostname())
    assert preflight_check(here, Rendezvous("127.0.0.1", 29_500)) is None
