"""A real control group with little memory, in which the kernel kills who wants more."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

_CGROUPS = Path("/sys/fs/cgroup")


@contextmanager
def small_memory_group(num_bytes: int) -> Iterator[Path]:
    """The file that takes processes into the group. Skips the test where none can be made."""
    is_version_1 = (_CGROUPS / "memory").is_dir()
    group = (_CGROUPS / "memory" if is_version_1 else _CGROUPS) / f"flant5-test-{uuid4().hex}"
    # Swapping would go on for minutes before anybody is killed.
    limits = (
        {"memory.limit_in_bytes": num_bytes, "memory.memsw.limit_in_bytes": num_bytes}
        if is_version_1
        else {"memory.max": num_bytes, "memory.swap.max": 0}
    )
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory group can be made here: {error}")
    try:
        if not (group / next(iter(limits))).exists():
            pytest.skip("the memory controller is not in use here")
        for name, limit in limits.items():
            if (group / name).exists():  # no limit on swap where there is none
                (group / name).write_text(str(limit))
        yield group / "cgroup.procs"
    finally:
        group.rmdir()
