"""The parts as the other tests rely on them."""

import os
import signal
from pathlib import Path

import pytest

from tests.stack.parts import Parts
from tests.stack.service import EXAMPLES, Process, processes_with, wait_until


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


@pytest.mark.stack
def test_each_part_that_is_killed_comes_back_and_nothing_is_left_at_the_end(
    tmp_path: Path,
) -> None:
    with Parts(tmp_path) as parts:
        file = parts.service.upload(EXAMPLES)
        for name in parts.names:
            before = parts[name].pid
            parts[name].kill()
            assert not Process(before, "").is_running
            wait_until(lambda name=name, before=before: parts[name].pid != before)  # type: ignore[misc]
        wait_until(parts.is_ready)
        wait_until(parts["worker-0"].children)
        worker = parts["worker-0"]
        (pool_process,) = worker.children()
        worker.freeze()
        wait_until(lambda: state_of(pool_process) == state_of(worker.pid) == "T")
        worker.thaw()
        wait_until(lambda: "T" not in state_of(pool_process) + state_of(worker.pid))
        # Ended from outside, as the kernel's memory killer does it.
        before = worker.pid
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: worker.pid != before)
        assert parts.service.upload(EXAMPLES) != file
    assert not processes_with(str(tmp_path))
