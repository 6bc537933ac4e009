import pytest
import torch

from flant5_train.estimates.flops import FlopCounts, peak_flops
from flant5_train.models.loss import IGNORED
from flant5_train.training.telemetry import Counter, Trained, counts_of, take_peak_memory

PADDED = {
    "input_ids": torch.tensor([[5, 6, 1], [7, 1, 0], [7, 1, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 0]]),
    "labels": torch.tensor(
        [[8, 1, IGNORED, IGNORED], [9, 9, 9, 1], [IGNORED, IGNORED, IGNORED, IGNORED]]
    ),
}
"""Pairs of 3 and 2 and of 2 and 4 tokens, and a filler."""

PACKED = {
    "input_ids": torch.tensor([[5, 6, 1, 7, 1, 7, 1, 0]]),
    "source_segments": torch.tensor([[1, 1, 1, 2, 2, 3, 3, 0]], dtype=torch.int32),
    "labels": torch.tensor([[8, 1, 9, 9, 9, 1, IGNORED]]),
    "target_segments": torch.tensor([[1, 1, 2, 2, 2, 2, 3]], dtype=torch.int32),
}
"""The same in one row."""


def test_padding_and_fillers_are_no_work() -> None:
    trained = Trained.of(counts_of(PADDED))
    assert trained.work == FlopCounts.of([3, 2], [2, 4])
    assert trained.source_fill == 5 / 9
    assert trained.target_fill == 6 / 12
    assert trained.num_tokens == 11


def test_a_packed_row_is_the_work_of_its_pairs() -> None:
    trained = Trained.of(counts_of(PACKED))
    assert trained.work == FlopCounts.of([3, 2], [2, 4])
    assert trained.source_fill == 5 / 8
    assert trained.target_fill == 6 / 7


def test_a_counter_sums_batches_and_processes_and_begins_anew() -> None:
    counter = Counter()
    counter.add(PADDED)
    counter.add(PACKED)
    two_processes = counter.take(lambda counts: counts * 2)
    assert two_processes.work == FlopCounts.of([3, 2] * 4, [2, 4] * 4)
    assert counter.take(lambda counts: counts) == Trained(FlopCounts(), 0, 0)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA L4", 121.0),
    ],
)
def test_the_peak_of_a_gpu_is_found_by_its_name(name: str, tflops: float) -> None:
    assert peak_flops(name) == pytest.approx(tflops * 1e12)


def test_a_device_without_a_known_peak_has_none() -> None:
    assert peak_flops("Tesla T4") is None
    assert take_peak_memory(torch.device("cpu")) is None
