"""Tests the slots of a worker before each job, in a separate process.

Exit code 0: all slots work. Otherwise the last line of standard error names the slot and the
failure. The worker's own process never uses CUDA: it would hold memory of each GPU from then on.

`smallest_gpu` returns memory sizes as reported by nvidia-smi, which only plans use.
"""

import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

from flant5_train.protocol.host import end_with
from worker.processes.environment_policy import allowed_environment
from worker.settings import inherited_environment
from worker.slots.slot import Slot

_KILL_SECONDS = 5.0
_MAX_REASON_CHARACTERS = 500

ProbeArgv = Callable[[tuple[Slot, ...]], list[str]]
"""The slots -> the command that tests them."""


def probe_argv(slots: tuple[Slot, ...]) -> list[str]:
    """Returns the default test command."""
    return [sys.executable, "-m", "worker.slots.gpu_selftest", *(slot.name for slot in slots)]


def probe_argv_of(command: str | None) -> ProbeArgv:
    """Returns the operator's test command with the slot names appended; the default one for None.

    Raises ValueError for an empty command line, or one that shell syntax cannot split.
    """
    if command is None:
        return probe_argv
    found = f"FLANT5_PROBE_COMMAND is {command!r}"
    try:
        command_line = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{found}: {error}; expected a command in shell syntax") from error
    if not command_line:
        raise ValueError(f"{found}; expected a command, or unset the variable")
    return lambda slots: [*command_line, *(slot.name for slot in slots)]


def probe(
    slots: tuple[Slot, ...], *, argv: ProbeArgv = probe_argv, timeout_seconds: float
) -> str | None:
    """Returns one line with the reason why the slots are unhealthy, or None if all work."""
    # A file, not a pipe: a leftover child of the test could keep a pipe open.
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                argv(slots),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=allowed_environment(inherited_environment()),
                start_new_session=True,
                preexec_fn=partial(end_with, os.getpid()),
            )
        except OSError as error:
            return f"cannot start the probe: {error}"
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return f"unhealthy: no answer within {timeout_seconds:g} s{_kill_group(process)}"
        except BaseException:
            _kill_group(process)
            raise
        if code == 0:
            return None
        stderr.seek(0)
        return _last_line(stderr.read()) or _ending(code)


def _kill_group(process: subprocess.Popen[bytes]) -> str:
    """Kills the probe. Returns a note to append to the error if that fails.

    A process stuck in a broken driver cannot be killed; waiting for it would block the worker
    forever.
    """
    os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(_KILL_SECONDS)
    except subprocess.TimeoutExpired:
        return f", and process {process.pid} can't be killed"
    return ""


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:_MAX_REASON_CHARACTERS] if lines else ""


def _ending(code: int) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the probe {how} and wrote no output"


_SMI_SECONDS = 60.0
_QUERY = ("nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits")
_MIB = 2**20

logger = logging.getLogger(__name__)


def smallest_gpu(slots: Sequence[Slot], *, command: Sequence[str] = _QUERY) -> int | None:
    """Returns the memory of the smallest of these GPUs, in bytes.

    None for CPU slots, for MIG partitions (nvidia-smi reports only whole GPUs), and if nvidia-smi
    reports no size.
    """
    if not all(slot.is_gpu for slot in slots):
        return None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("GPU memory is unknown; plans cannot use it: %s", error)
        return None
    sizes = dict(filter(None, map(_size, done.stdout.splitlines())))
    found = [sizes.get(slot.name) for slot in slots]
    known = [size for size in found if size is not None]
    return min(known) if known and len(known) == len(found) else None


def _size(line: str) -> tuple[str, int] | None:
    """
    >>> _size("GPU-5d5b, 81559"), _size("GPU-77aa, [N/A]")
    (('GPU-5d5b', 85520809984), None)
    """
    uuid, _, mebibytes = line.partition(",")
    return (uuid.strip(), int(mebibytes) * _MIB) if mebibytes.strip().isdigit() else None
