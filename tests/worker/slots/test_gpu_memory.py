"""What nvidia-smi tells of the memory of GPUs; a program stands in for it."""

import sys

import pytest

from worker.slots.gpu_health import smallest_gpu
from worker.slots.slot import Slot

ONE, OTHER = Slot("GPU-5d5b"), Slot("GPU-77aa")
MIB = 2**20


def says(text: str, *, code: int = 0) -> list[str]:
    return [sys.executable, "-c", f"print({text!r}); raise SystemExit({code})"]


def test_the_smallest_of_a_workers_gpus_counts() -> None:
    command = says("GPU-0000, 11264\nGPU-5d5b, 81559\nGPU-77aa, 24564")
    assert smallest_gpu([ONE, OTHER], command=command) == 24564 * MIB
    assert smallest_gpu([ONE], command=command) == 81559 * MIB


@pytest.mark.parametrize(
    "command",
    [
        says("GPU-5d5b, 81559"),  # the other is a part of a divided GPU, say
        says("GPU-5d5b, 81559\nGPU-77aa, [N/A]"),
        says("Failed to initialize NVML", code=9),
        ["no-such-program-as-nvidia-smi"],
    ],
)
def test_what_is_not_told_of_all_gpus_is_not_known(command: list[str]) -> None:
    assert smallest_gpu([ONE, OTHER], command=command) is None


def test_slots_without_a_gpu_ask_nobody() -> None:
    assert smallest_gpu([Slot("cpu-0")], command=says("cpu-0, 5")) is None
