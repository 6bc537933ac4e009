"""The check of a GPU, call by call, against a driver that is a Python object."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from worker.slots.gpu_selftest import (
    CudaError,
    UnhealthySlotError,
    check_gpus,
    run_device_selftest,
    start_driver,
)
from worker.slots.slot import Slot

GPUS = (Slot("GPU-a"), Slot("GPU-b"))


CALLS = [
    "cuInit",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuCtxCreate_v2",
    "cuMemAlloc_v2",
    "cuMemcpyHtoD_v2",
    "cuMemcpyDtoH_v2",
    "cuMemFree_v2",
    "cuCtxDestroy_v2",
]
"""All that the probe calls of the driver, in order."""


@dataclass
class FakeDriver:
    """GPUs whose memory is ours; `fails` is the call that answers 2."""

    num_devices: int = 2
    fails: str = ""
    is_forgetful: bool = False
    calls: list[str] = field(default_factory=list)
    memory: bytes = b""

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name not in CALLS:
            raise AttributeError(name)

        def call(*arguments: object) -> int:
            self.calls.append(name)
            if name == self.fails:
                return 2
            self._effects()[name](*arguments)
            return 0

        return call

    def cuGetErrorString(self, code: ctypes.c_int, text: object) -> int:  # noqa: N802
        text.contents.value = b"out of memory"  # type: ignore[attr-defined]
        return 0

    def _effects(self) -> dict[str, Callable[..., object]]:
        def nothing(*arguments: object) -> None:
            return None

        def count(number: object) -> None:
            number.contents.value = self.num_devices  # type: ignore[attr-defined]

        def write(memory: object, data: ctypes.c_char_p, size: ctypes.c_size_t) -> None:
            self.memory = ctypes.string_at(data, size.value)

        def read(data: object, memory: object, size: ctypes.c_size_t) -> None:
            data.raw = bytes(size.value) if self.is_forgetful else self.memory  # type: ignore[attr-defined]

        effects: dict[str, Callable[..., object]] = dict.fromkeys(CALLS, nothing)
        return effects | {
            "cuDeviceGetCount": count,
            "cuMemcpyHtoD_v2": write,
            "cuMemcpyDtoH_v2": read,
        }


def test_each_gpu_is_written_to_and_read_back_and_let_go() -> None:
    driver = FakeDriver()
    check_gpus(GPUS, load_driver=lambda: driver)
    assert driver.calls == [*CALLS[:2], *CALLS[2:], *CALLS[2:]]
    assert len(driver.memory) > 4_000_000
    assert len(set(driver.memory)) > 250


@pytest.mark.parametrize("call", CALLS)
def test_the_call_that_fails_is_named_with_the_drivers_words(call: str) -> None:
    with pytest.raises(UnhealthySlotError) as caught:
        check_gpus(GPUS, load_driver=lambda: FakeDriver(fails=call))
    slot = "GPU-a, GPU-b" if call in CALLS[:2] else "GPU-a"
    assert str(caught.value) == f"slot {slot}: {call} failed: out of memory (error 2)"


def test_memory_that_forgets_is_told_by_the_byte() -> None:
    driver = FakeDriver(is_forgetful=True)
    assert start_driver(driver) == 2
    with pytest.raises(CudaError, match=r"\d{7} of \d{7} bytes differ after a round trip"):
        run_device_selftest(driver, 0)


def test_a_gpu_that_cuda_does_not_show_is_named() -> None:
    with pytest.raises(
        UnhealthySlotError, match="slot GPU-b: CUDA sees 1 of the 2 GPUs GPU-a, GPU-b"
    ):
        check_gpus(GPUS, load_driver=lambda: FakeDriver(num_devices=1))


def test_a_driver_without_the_function_is_told() -> None:
    with pytest.raises(
        UnhealthySlotError, match="slot GPU-a, GPU-b: the CUDA driver has no function cuInit"
    ):
        check_gpus(GPUS, load_driver=object)
