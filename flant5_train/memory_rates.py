"""Constants of the memory estimate, in one place for calibration.

Measured constants are marked as such; the others are derived.
"""

from dataclasses import dataclass

from flant5_train.estimates.flops import ModelShape

GIB = 2**30


@dataclass(frozen=True, slots=True)
class LayerRate:
    """Bytes per token that a layer keeps for the backward pass, per unit of each width."""

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
    """Rates of one precision.

    `cross` counts per source token and decoder layer: keys and values of the cross-attention.
    """

    encoder: LayerRate
    decoder: LayerRate
    cross: LayerRate
    hidden_bytes: int
    """Bytes per number of the hidden states between layers, which checkpointing keeps."""
    weight_bytes: int
    """Bytes per weight in computation."""


# Measured with saved_tensors_hooks on FlanT5 with dropout; exactly linear in the three widths.
# Attention memory is linear in tokens, as with fused kernels.
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
"""Sharded training: a layer gathers its weights in bfloat16."""

LOSS_CHUNK_TOKENS = 2048
LOSS_BYTES_PER_LOGIT = 14
"""Logits of a chunk in bfloat16 and float32, and intermediates of their gradient."""
OPTIMIZER_COPY_BYTES = 4
"""Bytes per weight that unfused AdamW allocates during a step."""
FOUR_BIT_BYTES = 0.53
"""Bytes per weight, including the block scales."""
GATHERED_BLOCKS = 3
"""Gathered blocks in sharded training: computing, prefetched, being reduced."""
RESERVE_BYTES = int(1.2 * GIB)
"""Memory of CUDA and its libraries."""
FRAGMENTATION = 1.06
"""Ratio of allocated to requested memory."""
