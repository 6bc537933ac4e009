"""Default self-test of slots, run in its own process.

    python -m worker.slots.gpu_selftest GPU-5d5ba0d6 GPU-0a1b2c3d

exit code 0: all slots work. Otherwise standard error names the slot and the failed check. Every job
waits for it, so it imports only the standard library (importing pydantic takes 0.2 s).
"""

import os
import sys
from collections.abc import Callable

from worker.slots.cuda_driver import CudaError, Driver, exercise_device, load_driver, start_driver
from worker.slots.slot import Slot

_MEMORY_PATTERN = bytes(range(251)) * 2**14


class SickSlotError(Exception):
    """A slot is unhealthy. The message names the slot and the failed check."""


def check_gpus(slots: tuple[Slot, ...], *, load_driver: Callable[[], Driver] = load_driver) -> None:
    """Tests the GPUs. Raises SickSlotError for the first failure.

    This process must see exactly these GPUs.
    """
    names = ", ".join(slot.name for slot in slots)
    try:
        driver = load_driver()
        num_devices = start_driver(driver)
    except CudaError as error:
        raise SickSlotError(f"slot {names}: {error}") from error
    for index, slot in enumerate(slots):
        if index >= num_devices:
            raise SickSlotError(
                f"slot {slot.name}: CUDA sees {num_devices} of the {len(slots)} GPUs {names}"
            )
        try:
            exercise_device(driver, index)
        except CudaError as error:
            raise SickSlotError(f"slot {slot.name}: {error}") from error


def check_memory(slot: Slot) -> None:
    """Tests a CPU slot: allocates memory and verifies its content. Raises SickSlotError."""
    try:
        memory = bytearray(_MEMORY_PATTERN)
    except MemoryError as error:
        raise SickSlotError(
            f"slot {slot.name}: cannot allocate {len(_MEMORY_PATTERN)} bytes"
        ) from error
    if memory != _MEMORY_PATTERN:
        raise SickSlotError(f"slot {slot.name}: memory differs from the data written to it")


def main(names: list[str]) -> int:
    if not names:
        print(
            "no slot given; expected: python -m worker.slots.gpu_selftest SLOT...", file=sys.stderr
        )  # noqa: T201
        return 2
    slots = tuple(map(Slot, names))
    gpus = tuple(slot for slot in slots if slot.is_gpu)
    try:
        for slot in slots:
            if not slot.is_gpu:
                check_memory(slot)
        if gpus:
            # Directly into the C environment, which libcuda reads when it starts.
            os.putenv("CUDA_VISIBLE_DEVICES", ",".join(slot.name for slot in gpus))
            check_gpus(gpus)
    except SickSlotError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
