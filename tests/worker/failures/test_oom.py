"""The kernel's count of processes it killed for want of memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.memory_group import small_memory_group
from worker.failures.diagnosis import OomCounter

LIMIT_BYTES = 64 * 2**20
MOVES_IN_AND_EATS = """
import os, sys
with open(sys.argv[1], "w") as processes:
    processes.write(str(os.getpid()))
eaten = [bytearray(os.urandom(2**20)) for _ in range(4 * int(sys.argv[2]) // 2**20)]
"""


class Machine:
    """The files that are read, with invented content."""

    def __init__(self, directory: Path) -> None:
        self.proc = directory / "proc"
        self.cgroups = directory / "cgroup"

    def write(self, path: str, content: str) -> None:
        file = self.proc.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def count(self) -> int:
        return OomCounter(proc=self.proc, cgroups=self.cgroups).read()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.write("proc/vmstat", "pgfault 7\noom_kill 3\ndrop_pagecache 0\n")
    return made


def test_the_kills_of_the_whole_machine_are_counted(machine: Machine) -> None:
    assert machine.count() == 3


def test_the_kills_in_a_version_2_group_are_counted_too(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/service/worker\n")
    machine.write("cgroup/service/worker/memory.events", "oom 5\noom_kill 4\noom_group_kill 0\n")
    assert machine.count() == 3 + 4


def test_the_kills_in_a_version_1_group_are_counted_too(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "5:cpu:/\n4:memory:/worker\n0::/\n")
    machine.write(
        "cgroup/memory/worker/memory.oom_control",
        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )
    machine.write("cgroup/memory/memory.oom_control", "oom_kill 900\n")
    assert machine.count() == 3 + 2


def test_a_container_finds_its_group_at_the_root_of_the_mount(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:memory:/docker/0123\n")
    machine.write("cgroup/memory/memory.oom_control", "oom_kill 1\n")
    assert machine.count() == 3 + 1


def test_a_kernel_that_does_not_tell_counts_nothing(tmp_path: Path) -> None:
    assert Machine(tmp_path).count() == 0


def test_a_real_kill_is_counted() -> None:
    before = OomCounter().read()
    with small_memory_group(LIMIT_BYTES) as processes:
        eater = [sys.executable, "-c", MOVES_IN_AND_EATS, str(processes), str(LIMIT_BYTES)]
        finished = subprocess.run(eater, check=False, capture_output=True, text=True)
    assert finished.returncode == -9, finished.stderr
    assert OomCounter().read() > before
