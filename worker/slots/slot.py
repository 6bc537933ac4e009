"""The slots of a worker: its GPUs, or CPU cores on a machine without GPUs; and their locks.

    "auto"                    the GPUs in CUDA_VISIBLE_DEVICES, else all GPUs, else the cores
    "0,1"  "GPU-5d5b,MIG-1"   these GPUs: nvidia-smi's numbers, UUIDs or UUID prefixes
    "cpu-0,cpu-1"             this number of ranks without a GPU

GPUs are named by their UUIDs where nvidia-smi reports them. Two workers must not know one GPU by
two names, and CUDA numbers GPUs in a different order than nvidia-smi.

The worker and each of its ranks hold an exclusive lock per slot. While a rank outlives its worker,
its GPU is not assigned to another job.

    HOME/slots/<boot id>/<slot>.lock
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.jobs.storage.lock import LockedError, holder_text, name_holder, take_lock_to_share

_CPU = "cpu-"  # same as worker.jobs.store.workers.CPU_SLOT, whose import loads pydantic and redis
_MAX_NAME_BYTES = 200
"""Limit because each slot has a file of its name."""
_SMI_SECONDS = 60.0
_WAY_OUT = "expected a working driver, or FLANT5_SLOTS with CPU slots such as 'cpu-0'"

_INDEX = re.compile(r"0|[1-9][0-9]{0,3}")
_UUID = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z-]+")
_CPU_NAME = re.compile(rf"{_CPU}[\w.-]+")
_LISTED = re.compile(r"^\s*(?:GPU|MIG) .*\(UUID: ((?:GPU|MIG)-[0-9A-Za-z-]+)\)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Slot:
    """The device of one rank of a trainer."""

    name: str

    @property
    def is_gpu(self) -> bool:
        return not self.name.startswith(_CPU)


def list_gpus() -> tuple[str, ...]:
    """Returns the UUIDs of this machine's GPUs in nvidia-smi's order; empty without nvidia-smi.

    A GPU with MIG partitions is replaced by its partitions.

    Raises ValueError if nvidia-smi exists and fails. Without this, a machine with broken GPUs or a
    broken driver would train on its CPU.
    """
    command = ["nvidia-smi", "-L"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=False
        )
    except FileNotFoundError:
        return ()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"the GPUs can't be listed: {error}; {_WAY_OUT}") from error
    if done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip())[:1000]
        raise ValueError(
            f"the GPUs can't be listed: nvidia-smi -L exits {done.returncode}: {output}; {_WAY_OUT}"
        )
    gpus: list[str] = []
    for uuid in _LISTED.findall(done.stdout):
        if uuid.startswith("MIG-") and gpus and gpus[-1].startswith("GPU-"):
            gpus.pop()  # CUDA uses the MIG partitions, not the whole GPU
        gpus.append(uuid)
    return tuple(gpus)


def slots_of(
    setting: str,
    *,
    worker_name: str,
    environment: Mapping[str, str],
    list_gpus: Callable[[], tuple[str, ...]] = list_gpus,
) -> tuple[Slot, ...]:
    """Returns the slots that a setting names, at least one; see the module's docstring.

    Raises ValueError with the value found and the expected form.
    """
    if setting.strip() != "auto":
        return _listed_slots(setting, source="FLANT5_SLOTS", list_gpus=list_gpus)
    visible = environment.get("CUDA_VISIBLE_DEVICES", "").strip()
    if visible and visible != "-1":
        slots = _listed_slots(visible, source="CUDA_VISIBLE_DEVICES", list_gpus=list_gpus)
        if not slots[0].is_gpu:
            raise ValueError(f"CUDA_VISIBLE_DEVICES is {visible!r}; expected numbers or UUIDs")
        return slots
    if not visible and (gpus := list_gpus()):
        return tuple(map(Slot, gpus))
    num_cores = len(os.sched_getaffinity(0))
    return tuple(Slot(f"{_CPU}{worker_name}-{core}") for core in range(num_cores))


def _listed_slots(
    setting: str, *, source: str, list_gpus: Callable[[], tuple[str, ...]]
) -> tuple[Slot, ...]:
    found = f"{source} is {setting!r}"
    slots = tuple(_slot(name.strip(), found) for name in setting.split(","))
    first = slots[0]
    if other := next((slot for slot in slots if slot.is_gpu != first.is_gpu), None):
        raise ValueError(
            f"{found}: one of {first.name!r} and {other.name!r} is a GPU and the other is not; "
            "expected GPUs only, or CPU slots only"
        )
    if first.is_gpu and (gpus := list_gpus()):
        slots = tuple(Slot(_uuid(slot.name, gpus, found)) for slot in slots)
    names = [slot.name for slot in slots]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{found}: names {twice!r} twice; expected each slot once")
    return slots


def _slot(name: str, found: str) -> Slot:
    is_known = any(form.fullmatch(name) for form in (_INDEX, _UUID, _CPU_NAME))
    if not is_known:
        raise ValueError(
            f"{found}: {name!r} is not a slot; expected 'auto', or a list like '0,1', "
            "'GPU-<uuid>,MIG-<uuid>' or 'cpu-0,cpu-1' (letters, digits, '.', '_' and '-')"
        )
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise ValueError(
            f"{found}: a name of {len(name.encode())} bytes; expected at most {_MAX_NAME_BYTES}"
        )
    return Slot(name)


def _uuid(name: str, gpus: tuple[str, ...], found: str) -> str:
    """Returns the UUID of the GPU given by its number or a UUID prefix. Raises ValueError."""
    if not _INDEX.fullmatch(name):
        matches = [gpu for gpu in gpus if gpu.startswith(name)]
        if name in matches:
            return name
        if len(matches) != 1:
            raise ValueError(
                f"{found}: {len(matches)} GPUs have a UUID that starts with {name!r}; expected "
                f"one of {', '.join(gpus)}"
            )
        return matches[0]
    if any(gpu.startswith("MIG-") for gpu in gpus):
        raise ValueError(
            f"{found}: a number on a machine with MIG partitions; expected UUIDs from "
            f"{', '.join(gpus)}"
        )
    if int(name) >= len(gpus):
        raise ValueError(
            f"{found}: GPU {name}; expected numbers below {len(gpus)}, as nvidia-smi lists them"
        )
    return gpus[int(name)]


@dataclass(frozen=True, slots=True)
class BusySlot:
    """A slot that another process holds."""

    slot: Slot
    reason: str
    """One sentence that names the holder."""


@dataclass(frozen=True, slots=True)
class _Held:
    slot: Slot
    path: Path
    descriptor: int


class HeldSlots:
    """Slots locked until `close` and until all ranks that share the locks have exited."""

    def __init__(self, worker_name: str) -> None:
        self._worker_name = worker_name
        self._held: list[_Held] = []
        self._busy: list[BusySlot] = []

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(held.slot for held in self._held)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The lock files, which the ranks share."""
        return tuple(held.path for held in self._held)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Descriptors that a process inherits to hold the slots as well."""
        return tuple(held.descriptor for held in self._held)

    @property
    def visible_devices(self) -> tuple[str, ...]:
        """The GPUs among the slots: a trainer must see these and no others."""
        return tuple(held.slot.name for held in self._held if held.slot.is_gpu)

    @property
    def busy(self) -> tuple[BusySlot, ...]:
        """Requested slots that other processes hold."""
        return tuple(self._busy)

    def add(self, slot: Slot, path: Path) -> None:
        """Locks one more slot, or records its holder in `busy`."""
        try:
            descriptor = take_lock_to_share(
                path, holder=holder_text(self._worker_name), patience_seconds=0
            )
        except LockedError as error:
            self._busy.append(BusySlot(slot, f"slot {slot.name} is not free: {error}"))
        else:
            self._held.append(_Held(slot, path, descriptor))

    def name_job(self, job_id: str) -> None:
        """Writes the job's id into the lock files."""
        for held in self._held:
            name_holder(held.descriptor, holder_text(self._worker_name, job_id=job_id))

    def keep(self, num_slots: int) -> None:
        """Releases all slots but the first `num_slots`."""
        assert 0 <= num_slots <= len(self._held), f"keep {num_slots} of {len(self._held)} slots"
        while len(self._held) > num_slots:
            os.close(self._held.pop().descriptor)

    def close(self) -> None:
        """Releases the remaining slots. A second call does nothing."""
        self.keep(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SlotLocks:
    """Takes the locks of this host's slots in `directory` for one worker."""

    def __init__(self, directory: Path, *, worker_name: str) -> None:
        self._directory = directory
        self._worker_name = worker_name

    def take_free(self, slots: Iterable[Slot]) -> HeldSlots:
        """Locks the free slots among these without waiting, in the given order."""
        held = HeldSlots(self._worker_name)
        try:
            for slot in slots:
                held.add(slot, self._directory / f"{slot.name}.lock")
        except BaseException:
            held.close()
            raise
        return held
