"""The slots of a worker: the GPUs it trains on, or CPU cores on a machine without GPUs.

    "auto"                    the GPUs in CUDA_VISIBLE_DEVICES, else all GPUs, else the cores
    "0,1"  "GPU-5d5b,MIG-1"   these GPUs: nvidia-smi's numbers, UUIDs or UUID prefixes
    "cpu-0,cpu-1"             this number of ranks without a GPU

GPUs are named by their UUIDs where nvidia-smi reports them. Two workers must not know one GPU by
two names, and CUDA numbers GPUs in a different order than nvidia-smi.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
        said = (done.stderr.strip() or done.stdout.strip())[:1000]
        raise ValueError(
            f"the GPUs can't be listed: nvidia-smi -L exits {done.returncode}: {said}; {_WAY_OUT}"
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
