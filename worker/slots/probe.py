"""Whether the slots of a worker work, asked before each job in a process of its own.

    python -m worker.slots.probe GPU-5d5ba0d6 GPU-0a1b2c3d

exit code 0: all do; else the last line of standard error says what failed on which slot. The
worker's own process never touches CUDA: it would hold memory of each GPU from then on.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial

from worker.processes.launch import allowed_environment
from worker.processes.process_tree import end_with
from worker.settings import inherited_environment
from worker.slots.cuda_driver import CudaError, Driver, exercise_device, load_driver, start_driver
from worker.slots.slot import Slot

_KILL_SECONDS = 5.0
_MAX_REASON_CHARACTERS = 500
_MEMORY_PATTERN = bytes(range(251)) * 2**14

ProbeArgv = Callable[[tuple[Slot, ...]], list[str]]
"""The slots -> the command that says whether they work."""


class SickSlotError(Exception):
    """A slot that doesn't work; the message says which, and what failed."""


def probe_argv(slots: tuple[Slot, ...]) -> list[str]:
    """Our own check, this module."""
    return [sys.executable, "-m", "worker.slots.probe", *(slot.name for slot in slots)]


def probe_argv_of(command: str | None) -> ProbeArgv:
    """The check of a site, to which the slots' names are appended; our own for None.

    Raises ValueError for a command line that can't be split into words, or has none.
    """
    if command is None:
        return probe_argv
    found = f"FLANT5_PROBE_COMMAND is {command!r}"
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{found}: {error}; expected words as for a shell") from error
    if not words:
        raise ValueError(f"{found}; expected a command, or no such variable")
    return lambda slots: [*words, *(slot.name for slot in slots)]


def probe(
    slots: tuple[Slot, ...], *, argv: ProbeArgv = probe_argv, timeout_seconds: float
) -> str | None:
    """Why the slots can't be used, in one line; None when all work."""
    # A file, not a pipe: what a check leaves running could keep a pipe open.
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
            return f"the probe could not be started: {error}"
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
    """What there is to add: a process that is stuck in a broken driver can't be killed, and waiting
    for it would stop the worker for ever."""
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
    return f"the probe {how} and said nothing"


def check_gpus(slots: tuple[Slot, ...], *, load_driver: Callable[[], Driver] = load_driver) -> None:
    """Raises SickSlotError for the first that fails; this process must see them and no others."""
    names = ", ".join(slot.name for slot in slots)
    try:
        driver = load_driver()
        num_devices = start_driver(driver)
    except CudaError as error:
        raise SickSlotError(f"slot {names}: {error}") from error
    for index, slot in enumerate(slots):
        if index >= num_devices:
            raise SickSlotError(
                f"slot {slot.name}: CUDA shows {num_devices} of the {len(slots)} GPUs {names}"
            )
        try:
            exercise_device(driver, index)
        except CudaError as error:
            raise SickSlotError(f"slot {slot.name}: {error}") from error


def check_memory(slot: Slot) -> None:
    """The same for a CPU slot: memory can be had and keeps what is written."""
    try:
        memory = bytearray(_MEMORY_PATTERN)
    except MemoryError as error:
        raise SickSlotError(f"slot {slot.name}: no {len(_MEMORY_PATTERN)} bytes left") from error
    if memory != _MEMORY_PATTERN:
        raise SickSlotError(f"slot {slot.name}: memory came back changed")


def main(names: list[str]) -> int:
    if not names:
        print("no slot given; expected: python -m worker.slots.probe SLOT...", file=sys.stderr)  # noqa: T201
        return 2
    slots = tuple(map(Slot, names))
    gpus = tuple(slot for slot in slots if slot.is_gpu)
    try:
        for slot in slots:
            if not slot.is_gpu:
                check_memory(slot)
        if gpus:
            # Straight into the C environment, where libcuda looks when it starts.
            os.putenv("CUDA_VISIBLE_DEVICES", ",".join(slot.name for slot in gpus))
            check_gpus(gpus)
    except SickSlotError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
