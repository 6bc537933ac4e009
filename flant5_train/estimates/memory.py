"""Estimate of the GPU memory of a training run, before it starts.

Weights, gradients and optimizer state are exact. Activations follow constants, which are in one
place for calibration. Measured constants are marked as such; the others are derived. Torch is not
imported here.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

from flant5_train.config import Batching
from flant5_train.data.pairs import LargestBatch
from flant5_train.estimates.checkpoint import (
    layer_matrices,
    low_rank_shapes,
    num_numbers,
    optimizer_state_bytes,
    weight_shapes,
)
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


FinetuningType = Literal["full", "lora", "qlora"]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Largest micro-batch of a run: tensor positions, and lengths of its longest pair."""

    num_pairs: int
    """Pairs per micro-batch by the settings; the mean if pairs are grouped by length."""
    source_places: int
    target_places: int
    longest_source: int
    longest_target: int
    batching: Batching = "padded"

    @classmethod
    def of(cls, largest: LargestBatch, *, num_pairs: int, batching: Batching) -> Self:
        """Returns the micro-batch for the largest batch of a plan."""
        return cls(
            num_pairs,
            largest.source_places,
            largest.target_places,
            largest.longest_source,
            largest.longest_target,
            batching,
        )

    def halved(self) -> Self:
        """Returns a batch of half the pairs, but never smaller than its longest pair."""
        return replace(
            self,
            num_pairs=max(1, self.num_pairs // 2),
            source_places=max(self.source_places // 2, self.longest_source),
            target_places=max(self.target_places // 2, self.longest_target),
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings that determine the memory of a run."""

    shape: ModelShape
    batch: MicroBatch
    num_gpus: int = 1
    """Number of processes on all nodes."""
    is_sharded: bool = False
    bf16: bool = True
    gradient_checkpointing: bool = False
    optim: str = "adamw_torch_fused"
    finetuning_type: FinetuningType = "full"
    lora_rank: int = 16

    @property
    def rates(self) -> Rates:
        if not self.bf16:
            return FLOAT32
        return BFLOAT16 if self.is_sharded else AUTOCAST


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Estimated bytes on one GPU."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """Activations of the largest micro-batch, including recomputed ones."""
    working: int
    """Weight copies for computation, communication buffers, and the loss."""

    @property
    def total(self) -> int:
        parts = self.weights + self.gradients + self.optimizer + self.activations + self.working
        return int(parts * FRAGMENTATION) + RESERVE_BYTES


def estimate_memory(setup: Setup) -> MemoryEstimate:
    """Returns the peak on each GPU, in the backward pass or in the optimizer step."""
    shards = setup.num_gpus if setup.is_sharded else 1
    trained = num_trained(setup)
    gradients = 4 * trained // shards
    return MemoryEstimate(
        weights=_weight_bytes(setup) // shards,
        gradients=gradients,
        optimizer=_optimizer_bytes(setup) // shards,
        activations=_activation_bytes(setup),
        working=_loss_bytes(setup) + _working_bytes(setup),
    )


def num_weights(shape: ModelShape) -> int:
    """Returns the number of weights of a model."""
    return num_numbers(weight_shapes(shape))


def num_trained(setup: Setup) -> int:
    """Returns the number of weights with a gradient."""
    return num_numbers(trained_shapes(setup))


def trained_shapes(setup: Setup) -> list[tuple[int, ...]]:
    """Returns the shapes of the weights with a gradient.

    These are all weights, or the low-rank adapters of every layer matrix.
    """
    if setup.finetuning_type == "full":
        return weight_shapes(setup.shape)
    return [*low_rank_shapes(setup.shape, rank=setup.lora_rank)]


def _weight_bytes(setup: Setup) -> int:
    own = 4 * num_weights(setup.shape)
    if setup.finetuning_type == "full":
        return own
    if setup.finetuning_type == "qlora":
        own -= int((4 - FOUR_BIT_BYTES) * num_numbers(layer_matrices(setup.shape)))
    return own + 4 * num_trained(setup)


def _optimizer_bytes(setup: Setup) -> int:
    copies = OPTIMIZER_COPY_BYTES if setup.optim == "adamw_torch" else 0
    return optimizer_state_bytes(trained_shapes(setup), setup.optim) + copies * num_trained(setup)


def _activation_bytes(setup: Setup) -> int:
    shape, batch, rates = setup.shape, setup.batch, setup.rates
    encoder = rates.encoder.of(shape) * batch.source_places
    decoder = rates.decoder.of(shape) * batch.target_places
    decoder += rates.cross.of(shape) * batch.source_places
    if batch.batching != "packed":  # masks and biases are materialized, [pairs, heads, L, L]
        cell = setup.shape.num_heads * rates.weight_bytes
        encoder += cell * batch.source_places * batch.longest_source
        decoder += cell * batch.target_places * (batch.longest_target + batch.longest_source)
    if not setup.gradient_checkpointing:
        return int(shape.num_layers * encoder + shape.num_decoder_layers * decoder)
    hidden = rates.hidden_bytes * shape.d_model
    kept = shape.num_layers * batch.source_places + shape.num_decoder_layers * batch.target_places
    return int(hidden * kept + max(encoder, decoder))


def _loss_bytes(setup: Setup) -> int:
    """Returns the bytes of a chunk of logits and of the output layer's gradient."""
    tokens = min(LOSS_CHUNK_TOKENS, setup.batch.target_places)
    logits = LOSS_BYTES_PER_LOGIT * tokens * setup.shape.vocab_size
    own = 4 * setup.shape.vocab_size * setup.shape.d_model
    return logits + (own if setup.finetuning_type == "full" else 0)


def _working_bytes(setup: Setup) -> int:
    shape = setup.shape
    if not setup.is_sharded:
        # Autocast keeps a copy of each weight; DDP reduces gradients in its own buffers.
        copies = setup.rates.weight_bytes * num_weights(shape) if setup.bf16 else 0
        return copies + (4 * num_trained(setup) if setup.num_gpus > 1 else 0)
    embeddings = 2 * shape.vocab_size * shape.d_model
    matrices = layer_matrices(shape)[shape.num_layers * 7 :]
    block = num_numbers(matrices) // max(1, shape.num_decoder_layers)
    # Gathered weights and their gradients, which are reduced in float32.
    return (embeddings + GATHERED_BLOCKS * block) * (2 * setup.rates.weight_bytes + 4)
