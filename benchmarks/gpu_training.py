"""Training on a GPU, compared with FastChat's recipe: `python -m benchmarks gpu_training`.

Both use the same pairs of random tokens, models of the shapes of Flan-T5 with random weights, and
bfloat16 under autocast with float32 weights. Ours: `packed` batches of our tokenization, compiled
blocks. Theirs: random padded batches of 8 of FastChat's tokenization, the library's model and
attention, gradient checkpointing. Without a GPU there are no rows.
"""

import gc
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.pair_lengths import pair_lengths
from benchmarks.random_pairs import Batch, RandomPairs
from benchmarks.row import Row
from benchmarks.speed import Speed, Training, measure_speed, own_loss, stock_loss
from benchmarks.table import table
from flant5_train.models.flan_t5 import FlanT5

TITLE = "Training on a GPU"
_PEAK_FLOPS = 989e12
"""bfloat16 peak of an H100 SXM without sparsity (NVIDIA's data sheet)."""
_NUM_STEPS = 3
_ACCUMULATION = 4
"""Micro-batches per optimizer step, as in FastChat's command."""
_GPU = torch.device("cuda")


@dataclass(frozen=True, slots=True)
class _Size:
    """A model size with our training settings."""

    name: str
    d_model: int
    d_ff: int
    num_heads: int
    num_layers: int
    batch_size: int
    """Mean number of pairs in one of our rows: the most that fit into the GPU's memory."""
    goals: tuple[str, str] = ("", "")
    """Goals for pairs per second, and for the share of the peak in percent."""


_SIZES = (
    _Size("base", 768, 2048, 12, 12, batch_size=96),
    _Size("large", 1024, 2816, 16, 24, batch_size=32),
    _Size("xl", 2048, 5120, 32, 24, batch_size=10, goals=(">= 4", ">= 50")),
)


def run(sizes: tuple[str, ...] = ()) -> list[Row]:
    """Measures pairs and tokens per second, the share of the peak, and memory, for each size."""
    if not torch.cuda.is_available():
        return []
    torch.set_float32_matmul_precision("high")
    torch.backends.cuda.enable_cudnn_sdp(False)
    chosen = [size for size in _SIZES if not sizes or size.name in sizes]
    return [row for size in chosen for row in _rows(size)]


def _rows(size: _Size) -> list[Row]:
    lengths = pair_lengths()
    ours = _speed(_ours(size), RandomPairs(lengths.lossless).batches(
        "packed", num_pairs=size.batch_size, device=_GPU
    ))  # fmt: skip
    theirs = _speed(_theirs(size), RandomPairs(lengths.fastchat).batches(
        "padded", num_pairs=8, device=_GPU
    ))  # fmt: skip
    pairs_goal, peak_goal = size.goals
    shares = [100 * speed.flops / _PEAK_FLOPS for speed in (ours, theirs)]
    return [
        _row(f"{size.name}: pairs", ours.num_pairs, theirs.num_pairs, "pairs/s", pairs_goal),
        _row(f"{size.name}: real tokens", ours.num_tokens, theirs.num_tokens, "tokens/s", ""),
        Row(
            f"{size.name}: share of the peak",
            ours=shares[0],
            theirs=shares[1],
            ratio=shares[0],
            unit="%",
            goal=peak_goal,
        ),
        _row(f"{size.name}: memory", ours.peak_bytes / 1e9, theirs.peak_bytes / 1e9, "GB", ""),
    ]


def _row(name: str, ours: float, theirs: float, unit: str, goal: str) -> Row:
    return Row(name, ours, theirs, ours / theirs, unit, goal)


def _speed(training: Training, batches: Iterator[Batch]) -> Speed:
    steps = [[*itertools.islice(batches, _ACCUMULATION)] for _ in range(_NUM_STEPS)]
    speed = measure_speed(training, steps)
    print(speed, file=sys.stderr, flush=True)
    del training, steps
    gc.collect()
    torch.cuda.empty_cache()
    return speed


def _ours(size: _Size) -> Training:
    model = _model(FlanT5, size)
    model.compile_blocks()
    return Training(model, _adamw(model), own_loss, bf16=True)


def _theirs(size: _Size) -> Training:
    model = _model(T5ForConditionalGeneration, size)
    model.activation_checkpointing_enable()
    return Training(model, _adamw(model), stock_loss, bf16=True)


def _adamw(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)


def _model(kind: type[Any], size: _Size) -> Any:
    settings: dict[str, Any] = {"decoder_start_token_id": 0, "tie_word_embeddings": False}
    config = T5Config(
        vocab_size=32_448,
        d_model=size.d_model,
        d_kv=64,
        d_ff=size.d_ff,
        num_heads=size.num_heads,
        num_layers=size.num_layers,
        num_decoder_layers=size.num_layers,
        feed_forward_proj="gated-gelu",
        **settings,
    )
    torch.manual_seed(0)
    with _GPU:
        return kind(config)


if __name__ == "__main__":
    print(table(run(tuple(sys.argv[1:]))))
