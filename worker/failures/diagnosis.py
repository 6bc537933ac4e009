"""Finds the cause of a failed attempt in its files and exit code.

torchrun's exit code is of little use: it is 1 whatever the ranks exited with. Evidence is used in
this order: our own `error.json` if it names a cause, torchrun's summary of its processes,
torchrun's own failure, the exit code, the end of the log.

A process killed by signal 9 does not report the sender. An increase of `OomCounter` shows that it
was the kernel's OOM killer. There are two sources, which only grow: the whole machine
(/proc/vmstat), and this process's memory cgroup, which may be the only one in a container. A kill
in this cgroup counts in both. Only a change of the sum is relevant.
"""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from flant5_train.protocol.failure import ROOM_BYTES, FailureCode, blames_machine, code_of_text
from worker.failures.evidence import CRASHES, FailureEvidence, Summary, signal_name
from worker.processes.supervisor import LIFELINE_CUT

VAGUE = {FailureCode.INTERNAL, FailureCode.WORKER_LOST, FailureCode.KILLED}
"""Codes that a process may also report when only another process failed."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The cause of a failed attempt, with a message for users. `killed_by` is a signal number."""

    code: FailureCode
    message: str
    param: str | None = None
    killed_by: int | None = None


def cause_of(evidence: FailureEvidence, *, stopped_at: int | None) -> Cause:
    """Returns the cause. `stopped_at` is the step at which SIGTERM stopped the trainer cleanly."""
    failure = evidence.failure
    if failure is not None and failure.code not in VAGUE:
        return Cause(failure.code, failure.message, failure.param)
    if evidence.summary is not None and (found := _of_rank(evidence.summary, evidence)):
        return found
    if failure is not None:
        return Cause(failure.code, failure.message, failure.param)
    if stopped_at is not None:
        message = f"the trainer received SIGTERM at step {stopped_at}"
        return Cause(FailureCode.KILLED, message, killed_by=signal.SIGTERM)
    if evidence.torch_error is not None:
        return _of_torchrun(evidence.torch_error)
    return _of_exit(evidence)


def _of_rank(summary: Summary, evidence: FailureEvidence) -> Cause | None:
    """Returns the cause from the exit of a training process.

    None if that process described the cause in `error.json`.
    """
    cause, failure = summary.cause, evidence.failure
    is_killed = cause.signal == signal.SIGKILL
    if failure is not None and failure.code is FailureCode.WORKER_LOST:
        is_killed = is_killed or summary.has_killed(signal.SIGKILL)
    if is_killed and evidence.end.oom_kills:
        killed = f"a training process was killed by {signal_name(signal.SIGKILL)}"
        return Cause(FailureCode.HOST_OOM, f"{killed}: the machine ran out of memory")
    if failure is not None and (cause.exit_code == 1 or failure.rank == cause.rank):
        return None
    if cause.signal in CRASHES and blames_machine("\n".join(evidence.last_lines)):
        # NCCL's watchdog ends its process this way.
        return Cause(FailureCode.WORKER_LOST, f"{cause}: {evidence.tail}")
    if cause.signal is not None:
        return Cause(FailureCode.KILLED, str(cause), killed_by=cause.signal)
    if failure is not None:  # reported by a process that lost this one
        return Cause(FailureCode.INTERNAL, str(cause))
    return _unexplained(str(cause), evidence)


def _of_torchrun(message: str) -> Cause:
    """Returns the cause from torchrun's own failure."""
    if "SignalException" in message:
        text = f"torchrun received a signal to stop: {message}"
        return Cause(FailureCode.KILLED, text, killed_by=signal.SIGTERM)
    return Cause(code_of_text(message) or FailureCode.INTERNAL, f"torchrun failed: {message}")


def _of_exit(evidence: FailureEvidence) -> Cause:
    """Returns the cause from the exit code alone, without any other evidence."""
    code = evidence.end.exit_code
    if code is None:
        quoted = (
            f"; its last lines: {evidence.tail}" if evidence.last_lines else " without any output"
        )
        return Cause(FailureCode.WORKER_LOST, f"the trainer ended unexpectedly{quoted}")
    if code < 0:
        return Cause(FailureCode.WORKER_LOST, f"the supervisor was killed by {signal_name(-code)}")
    if code == LIFELINE_CUT:
        return Cause(FailureCode.WORKER_LOST, "the trainer lost its worker or missed its deadline")
    if code > 128:
        number = code - 128
        return Cause(
            FailureCode.KILLED, f"torchrun was killed by {signal_name(number)}", killed_by=number
        )
    return _unexplained(f"the trainer ended with exit code {code}", evidence)


def _unexplained(end: str, evidence: FailureEvidence) -> Cause:
    """Returns the cause from the last log lines of a trainer that wrote no `error.json`."""
    if evidence.num_free_bytes < ROOM_BYTES:
        return Cause(
            FailureCode.DISK_FULL,
            f"{end}, and the disk of its run directory is full: {evidence.num_free_bytes} bytes are"
            " free",
        )
    quoted = f"; its last lines: {evidence.tail}" if evidence.last_lines else " and wrote no output"
    code = code_of_text(evidence.tail) or FailureCode.INTERNAL
    return Cause(code, end + quoted)


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
