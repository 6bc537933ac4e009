"""Default self-test of slots, run in its own process.

    python -m worker.slots.gpu_selftest GPU-5d5ba0d6 GPU-0a1b2c3d

exit code 0: all slots work. Otherwise standard error names the slot and the failed check. Every job
waits for it, so it imports only the standard library (importing pydantic takes 0.2 s).

A GPU is tested with a short memory copy through the CUDA driver, without torch. The driver is
`libcuda.so.1`, or in tests an object with functions of the same names and ctypes arguments. A
process that has used the driver cannot fork children that use it. So use this module only in the
probe's own process.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

from worker.slots.slot import Slot

_NUM_BYTES = 4 * 2**20
_PATTERN = bytes(range(251)) * (_NUM_BYTES // 251)
"""The period 251 is prime: a copy shifted by a power of two differs from its source."""

Driver = Any
"""ctypes looks up the functions by name when they are called."""


class CudaError(Exception):
    """An error of the driver. The message names the call."""


def load_driver() -> Driver:
    """Loads the driver library. Raises CudaError if there is none."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CudaError(f"no CUDA driver: {error}") from error


def start_driver(driver: Driver) -> int:
    """Initializes the driver and returns the number of visible GPUs. Raises CudaError."""
    _call(driver, "cuInit", ctypes.c_uint(0))
    num_devices = ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.pointer(num_devices))
    return num_devices.value


def run_device_selftest(driver: Driver, index: int) -> None:
    """Writes GPU memory and reads it back. Raises CudaError for the first failing call."""
    device = ctypes.c_int()
    context = ctypes.c_void_p()
    memory = ctypes.c_uint64()
    size = ctypes.c_size_t(len(_PATTERN))
    answer = ctypes.create_string_buffer(len(_PATTERN))
    _call(driver, "cuDeviceGet", ctypes.pointer(device), ctypes.c_int(index))
    _call(driver, "cuCtxCreate_v2", ctypes.pointer(context), ctypes.c_uint(0), device)
    _call(driver, "cuMemAlloc_v2", ctypes.pointer(memory), size)
    _call(driver, "cuMemcpyHtoD_v2", memory, ctypes.c_char_p(_PATTERN), size)
    _call(driver, "cuMemcpyDtoH_v2", answer, memory, size)
    if answer.raw != _PATTERN:
        raise CudaError(
            f"{_num_wrong(answer.raw)} of {len(_PATTERN)} bytes differ after a round trip"
        )
    _call(driver, "cuMemFree_v2", memory)
    _call(driver, "cuCtxDestroy_v2", context)


def _num_wrong(answer: bytes) -> int:
    return sum(got != expected for got, expected in zip(answer, _PATTERN, strict=True))


def _call(driver: Driver, name: str, *arguments: object) -> None:
    try:
        function = getattr(driver, name)
    except AttributeError as error:
        raise CudaError(f"the CUDA driver has no function {name}: {error}") from error
    if code := function(*arguments):
        raise CudaError(f"{name} failed: {_error_string(driver, code)} (error {code})")


def _error_string(driver: Driver, code: int) -> str:
    text = ctypes.c_char_p()
    if driver.cuGetErrorString(ctypes.c_int(code), ctypes.pointer(text)) or text.value is None:
        return "unknown CUDA driver error"
    return text.value.decode("utf-8", "replace")


_MEMORY_PATTERN = bytes(range(251)) * 2**14


class UnhealthySlotError(Exception):
    """A slot is unhealthy. The message names the slot and the failed check."""


def check_gpus(slots: tuple[Slot, ...], *, load_driver: Callable[[], Driver] = load_driver) -> None:
    """Tests the GPUs. Raises UnhealthySlotError for the first failure.

    This process must see exactly these GPUs.
    """
    names = ", ".join(slot.name for slot in slots)
    try:
        driver = load_driver()
        num_devices = start_driver(driver)
    except CudaError as error:
        raise UnhealthySlotError(f"slot {names}: {error}") from error
    for index, slot in enumerate(slots):
        if index >= num_devices:
            raise UnhealthySlotError(
                f"slot {slot.name}: CUDA sees {num_devices} of the {len(slots)} GPUs {names}"
            )
        try:
            run_device_selftest(driver, index)
        except CudaError as error:
            raise UnhealthySlotError(f"slot {slot.name}: {error}") from error


def check_memory(slot: Slot) -> None:
    """Tests a CPU slot: allocates memory and verifies its content. Raises UnhealthySlotError."""
    try:
        memory = bytearray(_MEMORY_PATTERN)
    except MemoryError as error:
        raise UnhealthySlotError(
            f"slot {slot.name}: cannot allocate {len(_MEMORY_PATTERN)} bytes"
        ) from error
    if memory != _MEMORY_PATTERN:
        raise UnhealthySlotError(f"slot {slot.name}: memory differs from the data written to it")


def main(names: list[str]) -> int:
    if not names:
        usage = "python -m worker.slots.gpu_selftest SLOT..."
        print(f"no slot given; expected: {usage}", file=sys.stderr)  # noqa: T201
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
    except UnhealthySlotError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
