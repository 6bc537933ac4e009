"""A run on one machine by the real torchrun and gloo, whatever the host's own name stands for."""

import subprocess
from pathlib import Path

import pytest

from tests.host_names import UNRESOLVABLE, on_host_called
from tests.worker.workshop import PROGRAMS
from worker.jobs.storage.paths import RunDirectory
from worker.processes.trainer_process import (
    ONE_NODE_ENVIRONMENT,
    NodeSpec,
    torchrun_argv,
    trainer_environment,
)
from worker.settings import inherited_environment

NO_ADDRESS_OF_OURS = "192.0.2.1"  # RFC 5737: of documents, never of a host


@pytest.mark.parametrize(
    ("name", "hosts", "num_processes"),
    [
        pytest.param(UNRESOLVABLE, "127.0.0.1 localhost\n", 1, id="unresolvable, 1 process"),
        pytest.param(UNRESOLVABLE, "127.0.0.1 localhost\n", 2, id="unresolvable, 2 processes"),
        pytest.param("gpu-box", f"{NO_ADDRESS_OF_OURS} gpu-box\n", 2, id="wrong, no localhost"),
        pytest.param("gpu-box", "::1 localhost gpu-box\n", 2, id="IPv6 alone"),
    ],
)
def test_a_run_on_one_machine_needs_no_name(
    tmp_path: Path, name: str, hosts: str, num_processes: int
) -> None:
    hosts_file = tmp_path / "hosts"
    hosts_file.write_text(hosts)
    directory = RunDirectory(tmp_path)
    argv = torchrun_argv(directory.run_config, NodeSpec(num_processes), 1)
    program = [str(PROGRAMS / "sums_ranks.py"), str(tmp_path)]
    launch = [*argv[: argv.index("flant5_train.train") - 1], *program]
    environment = trainer_environment(
        inherited_environment(), num_processes=num_processes, run_directory=directory
    )
    done = subprocess.run(
        on_host_called(name, launch, hosts_file=hosts_file),
        env=ONE_NODE_ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=120,  # with torchrun's --standalone it would be ten minutes
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sums = {path.name: path.read_text() for path in tmp_path.glob("sum-*")}
    assert sums == {f"sum-{rank}": str(num_processes) for rank in range(num_processes)}
    assert "resolve" not in done.stderr, "gloo asked for the host's name"
