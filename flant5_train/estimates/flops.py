"""Floating-point operations of a training step, computed from lengths, and peak FLOPS of GPUs.

The peaks are the base of model FLOPs utilization (MFU). Neither torch nor numpy is imported here:
planning a run must not need them.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, Self

_TRAINING = 3
"""Cost of a training step in forward passes: the backward pass costs two."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a Flan-T5 with gated feed-forward layers and an untied output layer."""

    d_model: int
    d_kv: int
    num_heads: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    vocab_size: int
    """Rows of the embedding and of the output layer."""

    @classmethod
    def of(cls, config: Any) -> Self:
        """Returns the shape of a configuration such as transformers' T5Config."""
        return cls(**{name: getattr(config, name) for name in cls.__slots__})

    @property
    def attention_width(self) -> int:
        """Width of all heads together; in Flan-T5 not always `d_model`."""
        return self.num_heads * self.d_kv


@dataclass(frozen=True, slots=True)
class FlopCounts:
    """Sums over pairs that determine their training cost.

    S is the source length of a pair, T its target length. `FlopCounts` values can be added. All
    counts are exact integers.
    """

    sources: int = 0
    targets: int = 0
    squared_sources: int = 0
    squared_targets: int = 0
    products: int = 0

    @classmethod
    def of(cls, source_lengths: Iterable[int], target_lengths: Iterable[int]) -> Self:
        """Returns the sums for these lengths, without padding. Packed pairs count separately.

        >>> FlopCounts.of([3, 5], [2, 4])
        FlopCounts(sources=8, targets=6, squared_sources=34, squared_targets=20, products=26)
        """
        # int(), because an array's own integers may be too narrow for a square.
        pairs = [
            (int(source), int(target))
            for source, target in zip(source_lengths, target_lengths, strict=True)
        ]
        return cls(
            sources=sum(source for source, _ in pairs),
            targets=sum(target for _, target in pairs),
            squared_sources=sum(source * source for source, _ in pairs),
            squared_targets=sum(target * target for _, target in pairs),
            products=sum(source * target for source, target in pairs),
        )

    def __add__(self, other: "FlopCounts") -> "FlopCounts":
        return FlopCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def scaled(self, number: int) -> "FlopCounts":
        """Returns the work multiplied by `number`."""
        return FlopCounts(*(number * each for each in astuple(self)))


def training_flops(shape: ModelShape, work: FlopCounts) -> int:
    """Returns the operations of a forward and a backward pass, without recomputation.

    A multiply-add counts as two. Decoder self-attention counts half, because later tokens are
    masked. Position biases, norms and activations are not matrix products and not counted, as is
    usual for a share of the peak.
    """
    width, attention, feed = shape.d_model, shape.attention_width, shape.d_ff
    encoder, decoder = shape.num_layers, shape.num_decoder_layers
    per_source = 2 * encoder * (4 * width * attention + 3 * width * feed)
    per_source += 2 * decoder * 2 * width * attention  # keys and values of the cross-attention
    per_target = 2 * decoder * (6 * width * attention + 3 * width * feed)
    per_target += 2 * width * shape.vocab_size
    forward = work.sources * per_source + work.targets * per_target
    forward += 4 * encoder * attention * work.squared_sources
    forward += 2 * decoder * attention * work.squared_targets
    forward += 4 * decoder * attention * work.products
    return _TRAINING * forward


_PEAK_TFLOPS = (
    # Dense bfloat16 on tensor cores with float32 accumulation, without sparsity, from NVIDIA's data
    # sheets and architecture papers. The first entry contained in the device name counts.
    ("GB200", 2500.0),
    ("B200", 2250.0),
    ("H200 NVL", 835.5),
    ("H200", 989.4),
    ("H100 NVL", 835.5),
    ("H100 PCIe", 756.5),
    ("H100", 989.4),
    ("H800", 989.4),
    ("A100", 312.0),
    ("A800", 312.0),
    ("A40", 149.7),
    ("A30", 165.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("RTX A6000", 154.8),
    ("RTX 6000 Ada", 364.2),
    ("L40S", 362.1),
    ("L40", 181.1),
    ("L4", 121.0),
    ("RTX 5090", 209.5),
    ("RTX 4090", 165.2),
    ("RTX 3090", 71.0),
)


def peak_flops(device_name: str) -> float | None:
    """Returns floating-point operations per second; None if the device is not in the table.

    >>> peak_flops("NVIDIA H100 80GB HBM3")
    989400000000000.0
    """
    found = (tflops for name, tflops in _PEAK_TFLOPS if name in device_name)
    tflops = next(found, None)
    return None if tflops is None else tflops * 1e12
