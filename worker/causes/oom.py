"""How many processes the kernel has killed for want of memory.

A process killed by signal 9 does not say who sent it; this counter having gone up meanwhile does.
Both sources only grow: the whole machine's (/proc/vmstat), and this process's memory cgroup, which
in a container may be the only one there is. A kill of our own counts in both: what matters is
whether the sum has changed.
"""

import re
from pathlib import Path

_OOM_KILL = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class OomCounter:
    """`proc` and `cgroups` are where those file systems are mounted."""

    def __init__(
        self, *, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
    ) -> None:
        self._proc = proc
        self._cgroups = cgroups

    def read(self) -> int:
        """Kills so far; 0 where the kernel does not tell."""
        groups = (_count(path) for path in self._files_of_own_group())
        own = next((count for count in groups if count is not None), 0)
        return (_count(self._proc / "vmstat") or 0) + own

    def _files_of_own_group(self) -> list[Path]:
        """Where its count may be, the likeliest place first.

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
    """Empty where there is no such file, or this user may not read it."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
