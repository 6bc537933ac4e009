"""Counts processes that the kernel's OOM killer has killed.

A process killed by signal 9 does not report the sender. An increase of this counter shows that it
was the kernel. There are two sources, which only grow: the whole machine (/proc/vmstat), and this
process's memory cgroup, which may be the only one in a container. A kill in this cgroup counts in
both. Only a change of the sum is relevant.
"""

import re
from pathlib import Path

_OOM_KILL = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class OomCounter:
    """Reads the counters. `proc` and `cgroups` are the mount points of those file systems."""

    def __init__(
        self, *, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
    ) -> None:
        self._proc = proc
        self._cgroups = cgroups

    def read(self) -> int:
        """Returns the number of kills so far, or 0 if the kernel does not report it."""
        groups = (_count(path) for path in self._files_of_own_group())
        own = next((count for count in groups if count is not None), 0)
        return (_count(self._proc / "vmstat") or 0) + own

    def _files_of_own_group(self) -> list[Path]:
        """Returns the files that may hold this group's count, the most likely one first.

        A line of /proc/self/cgroup is "4:memory:/path" (version 1) or "0::/path" (version 2). In a
        container the path can be the host's, while its own group is mounted at the root.
        """
        candidates: list[Path] = []
        for line in _read(self._proc / "self" / "cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            relative = path.lstrip("/")
            if "memory" in controllers.split(","):
                roots, name = [self._cgroups / "memory"], "memory.oom_control"
            elif not controllers:
                roots, name = [self._cgroups, self._cgroups / "unified"], "memory.events"
            else:
                continue
            candidates += [root / inside / name for root in roots for inside in (relative, "")]
        return candidates


def _count(path: Path) -> int | None:
    found = _OOM_KILL.search(_read(path))
    return int(found[1]) if found else None


def _read(path: Path) -> str:
    """Returns the text, or "" if the file is missing or unreadable for this user."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
