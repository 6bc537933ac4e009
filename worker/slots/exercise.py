"""Does a little work on each slot: our own probe, a process of its own.

    python -m worker.slots.exercise GPU-5d5ba0d6 GPU-0a1b2c3d

exit code 0: all slots work; else standard error says what failed on which. It is started before
each job, which waits for it: no imports beyond the standard library (pydantic's take 0.2 s).
"""

import os
import sys
from collections.abc import Callable

from worker.slots.cuda_driver import CudaError, Driver, exercise_device, load_driver, start_driver
from worker.slots.slot import Slot

_MEMORY_PATTERN = bytes(range(251)) * 2**14


class SickSlotError(Exception):
    """A slot that doesn't work; the message says which, and what failed."""


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
        print("no slot given; expected: python -m worker.slots.exercise SLOT...", file=sys.stderr)  # noqa: T201
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
