"""Whether a GPU works: the CUDA driver does a little real work on it, without torch.

The driver is `libcuda.so.1`, or for a test an object with functions of the same names that take the
same ctypes values. A process that has used it can't fork workers that use it: this module is for
the probe's own process (`worker.slots.exercise`).
"""

import ctypes
from typing import Any

_NUM_BYTES = 4 * 2**20
_PATTERN = bytes(range(251)) * (_NUM_BYTES // 251)
"""251, a prime: a copy that slips by a power of two doesn't equal its source."""

Driver = Any
"""ctypes finds the functions by name when they are called."""


class CudaError(Exception):
    """What the driver answered; the message names the call."""


def load_driver() -> Driver:
    """Raises CudaError when there is no driver."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CudaError(f"no CUDA driver: {error}") from error


def start_driver(driver: Driver) -> int:
    """The number of GPUs that this process sees."""
    _call(driver, "cuInit", ctypes.c_uint(0))
    num_devices = ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.pointer(num_devices))
    return num_devices.value


def exercise_device(driver: Driver, index: int) -> None:
    """Writes some memory of a GPU and reads it back. Raises CudaError for the first that fails."""
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
        raise CudaError(f"{_num_wrong(answer.raw)} of {len(_PATTERN)} bytes came back changed")
    _call(driver, "cuMemFree_v2", memory)
    _call(driver, "cuCtxDestroy_v2", context)


def _num_wrong(answer: bytes) -> int:
    return sum(got != expected for got, expected in zip(answer, _PATTERN, strict=True))


def _call(driver: Driver, name: str, *arguments: object) -> None:
    try:
        function = getattr(driver, name)
    except AttributeError as error:
        raise CudaError(f"this CUDA driver has no {name}: {error}") from error
    if code := function(*arguments):
        raise CudaError(f"{name} failed: {_error_string(driver, code)} (error {code})")


def _error_string(driver: Driver, code: int) -> str:
    text = ctypes.c_char_p()
    if driver.cuGetErrorString(ctypes.c_int(code), ctypes.pointer(text)) or text.value is None:
        return "an error that the driver has no words for"
    return text.value.decode("utf-8", "replace")
