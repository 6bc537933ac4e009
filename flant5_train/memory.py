"""How much memory a training run takes on a GPU, estimated before it starts.

Sums of what is known exactly (weights, gradients, optimizer state) and of activations by measured
rates. Neither torch nor numpy is imported here.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

from flant5_train.config import Batching
from flant5_train.flops import ModelShape
from flant5_train.memory_rates import (
    ADAMW_BYTES,
    AUTOCAST,
    BFLOAT16,
    FLOAT32,
    FOUR_BIT_BYTES,
    FRAGMENTATION,
    GATHERED_BLOCKS,
    LOSS_BYTES_PER_LOGIT,
    LOSS_CHUNK_TOKENS,
    OPTIMIZER_COPY_BYTES,
    RESERVE_BYTES,
    Rates,
)

FinetuningType = Literal["full", "lora", "qlora"]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The largest micro-batch of a run: places in its tensors, and its longest pair's lengths."""

    num_pairs: int
    source_places: int
    target_places: int
    longest_source: int
    longest_target: int
    batching: Batching = "padded"

    @classmethod
    def of(
        cls, num_pairs: int, *, mean: tuple[int, int], longest: tuple[int, int], batching: Batching
    ) -> Self:
        """Lengths are (source, target). Padded batches may hold the longest pairs only; the others
        hold as many tokens as `num_pairs` pairs of mean length, and never less than the longest."""
        counted = longest if batching == "padded" else mean
        sources, targets = (
            max(num_pairs * each, most) for each, most in zip(counted, longest, strict=True)
        )
        return cls(num_pairs, sources, targets, *longest, batching)

    def halved(self) -> Self:
        """Half the pairs; a batch that holds no more than its longest pair gets no smaller."""
        return replace(
            self,
            num_pairs=max(1, self.num_pairs // 2),
            source_places=max(self.source_places // 2, self.longest_source),
            target_places=max(self.target_places // 2, self.longest_target),
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """What decides over the memory of a run."""

    shape: ModelShape
    batch: MicroBatch
    num_gpus: int = 1
    """Processes in all, on all nodes."""
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
    """Bytes on one GPU."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """Of the largest micro-batch, and what is recomputed at one time."""
    working: int
    """Copies of weights to compute with, buffers between GPUs, and the loss."""

    @property
    def total(self) -> int:
        parts = self.weights + self.gradients + self.optimizer + self.activations + self.working
        return int(parts * FRAGMENTATION) + RESERVE_BYTES


def estimate_memory(setup: Setup) -> MemoryEstimate:
    """The peak on each GPU, which comes in the backward pass or in the optimizer's step."""
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
    """All weights; the relative position biases have 32 buckets."""
    embeddings = 2 * shape.vocab_size * shape.d_model
    norms = shape.d_model * (2 * shape.num_layers + 3 * shape.num_decoder_layers + 2)
    matrices = sum(rows * columns for rows, columns in _matrices(shape))
    return embeddings + norms + matrices + 2 * 32 * shape.num_heads


def num_trained(setup: Setup) -> int:
    """Weights with a gradient: all, or the low-rank additions to every matrix of the layers."""
    if setup.finetuning_type == "full":
        return num_weights(setup.shape)
    return setup.lora_rank * sum(rows + columns for rows, columns in _matrices(setup.shape))


def _matrices(shape: ModelShape) -> list[tuple[int, int]]:
    """Rows and columns of the weight matrices of all layers."""
    projections = [(shape.d_model, shape.attention_width)] * 4
    feed_forward = [(shape.d_model, shape.d_ff)] * 3
    encoder = (projections + feed_forward) * shape.num_layers
    return encoder + (2 * projections + feed_forward) * shape.num_decoder_layers


def _weight_bytes(setup: Setup) -> int:
    own = 4 * num_weights(setup.shape)
    if setup.finetuning_type == "full":
        return own
    if setup.finetuning_type == "qlora":
        own -= int(
            (4 - FOUR_BIT_BYTES) * sum(rows * columns for rows, columns in _matrices(setup.shape))
        )
    return own + 4 * num_trained(setup)


def _optimizer_bytes(setup: Setup) -> int:
    if setup.optim != "adafactor":
        copies = OPTIMIZER_COPY_BYTES if setup.optim == "adamw_torch" else 0
        return (ADAMW_BYTES + copies) * num_trained(setup)
    shape = setup.shape
    sides = sum(rows + columns for rows, columns in _matrices(shape))
    if setup.finetuning_type == "full":
        return 4 * (sides + 2 * (shape.vocab_size + shape.d_model))
    return 4 * (sides + 2 * setup.lora_rank * len(_matrices(shape)))


def _activation_bytes(setup: Setup) -> int:
    shape, batch, rates = setup.shape, setup.batch, setup.rates
    encoder = rates.encoder.of(shape) * batch.source_places
    decoder = rates.decoder.of(shape) * batch.target_places
    decoder += rates.cross.of(shape) * batch.source_places
    if batch.batching != "packed":  # masks and biases are written out, [pairs, heads, L, L]
        cell = setup.shape.num_heads * rates.weight_bytes
        encoder += cell * batch.source_places * batch.longest_source
        decoder += cell * batch.target_places * (batch.longest_target + batch.longest_source)
    if not setup.gradient_checkpointing:
        return int(shape.num_layers * encoder + shape.num_decoder_layers * decoder)
    hidden = rates.hidden_bytes * shape.d_model
    kept = shape.num_layers * batch.source_places + shape.num_decoder_layers * batch.target_places
    return int(hidden * kept + max(encoder, decoder))


def _loss_bytes(setup: Setup) -> int:
    """A chunk of logits, and the output layer's gradient, which is made with them."""
    tokens = min(LOSS_CHUNK_TOKENS, setup.batch.target_places)
    logits = LOSS_BYTES_PER_LOGIT * tokens * setup.shape.vocab_size
    own = 4 * setup.shape.vocab_size * setup.shape.d_model
    return logits + (own if setup.finetuning_type == "full" else 0)


def _working_bytes(setup: Setup) -> int:
    shape = setup.shape
    if not setup.is_sharded:
        # Autocast keeps a copy of each weight; DDP sums up gradients in buffers of its own.
        copies = setup.rates.weight_bytes * num_weights(shape) if setup.bf16 else 0
        return copies + (4 * num_trained(setup) if setup.num_gpus > 1 else 0)
    embeddings = 2 * shape.vocab_size * shape.d_model
    matrices = _matrices(shape)[shape.num_layers * 7 :]
    block = sum(rows * columns for rows, columns in matrices) // max(1, shape.num_decoder_layers)
    # Gathered weights and their gradients, which are summed up in float32.
    return (embeddings + GATHERED_BLOCKS * block) * (2 * setup.rates.weight_bytes + 4)
