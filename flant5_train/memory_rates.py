"""The constants of the memory estimate, in one place to be calibrated. What was measured says so;
the rest is reasoned."""

from dataclasses import dataclass

from flant5_train.flops import ModelShape

GIB = 2**30


@dataclass(frozen=True, slots=True)
class LayerRate:
    """Bytes that a layer keeps per token for the backward pass: so many per unit of each width."""

    d_model: float
    attention: float
    d_ff: float

    def of(self, shape: ModelShape) -> float:
        return (
            self.d_model * shape.d_model
            + self.attention * shape.attention_width
            + self.d_ff * shape.d_ff
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """What is kept in one precision. `cross` counts per source token and decoder layer: keys and
    values of the cross-attention."""

    encoder: LayerRate
    decoder: LayerRate
    cross: LayerRate
    hidden_bytes: int
    """Of one number of the stream between layers, which is what checkpointing keeps."""
    weight_bytes: int
    """Of one number of the weights that a layer computes with."""


# Measured with saved_tensors_hooks on FlanT5, dropout on, three widths varied (exactly linear);
# memory for attention grows with the tokens only, as that of fused kernels does.
FLOAT32 = Rates(
    LayerRate(32, 16.25, 32),
    LayerRate(48, 24.5, 32),
    LayerRate(0, 8, 0),
    hidden_bytes=4,
    weight_bytes=4,
)
AUTOCAST = Rates(
    LayerRate(30, 8.25, 16),
    LayerRate(42, 12.5, 16),
    LayerRate(4, 4, 0),
    hidden_bytes=4,
    weight_bytes=2,
)
"""bfloat16 under autocast over float32 weights."""
BFLOAT16 = Rates(
    LayerRate(24, 8.25, 16),
    LayerRate(36, 12.5, 16),
    LayerRate(0, 4, 0),
    hidden_bytes=2,
    weight_bytes=2,
)
"""Sharded: a layer gathers its weights as bfloat16."""

LOSS_CHUNK_TOKENS = 2048
LOSS_BYTES_PER_LOGIT = 14
"""A chunk's logits in bfloat16 and float32, and what their slope is made from."""
OPTIMIZER_COPY_BYTES = 4
"""Per weight: what AdamW of plain operations makes while it steps."""
FOUR_BIT_BYTES = 0.53
"""Per weight, with the scales of its blocks."""
GATHERED_BLOCKS = 3
"""Blocks whole at one time in sharded training: computing, fetched ahead, being reduced."""
RESERVE_BYTES = int(1.2 * GIB)
"""CUDA itself and its libraries."""
FRAGMENTATION = 1.06
"""What the allocator takes beyond what it is asked for."""
