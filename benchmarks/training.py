"""Training on CPUs: `padded`, `bucketed` and `packed`, compared with the library's model on random
padded batches of 8: `python -m benchmarks training`.

A small model and a quarter of the real lengths keep the time to minutes. All sides alternate, batch
by batch, so that other load of the machine affects them equally.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.pair_lengths import pair_lengths, shrunk
from benchmarks.random_pairs import Batch, RandomPairs
from benchmarks.row import Row
from benchmarks.speed import Loss, own_loss, stock_loss
from benchmarks.table import table
from flant5_train.config import Batching
from flant5_train.data.pairs import PairLengths
from flant5_train.models.flan_t5 import FlanT5

TITLE = "Training on CPUs"
_CPU = torch.device("cpu")
_BATCH_SIZE = 8
_NUM_ROUNDS = 24
_VOCABULARY = 1024
_OURS: tuple[Batching, ...] = ("padded", "bucketed", "packed")


@dataclass(slots=True)
class _Way:
    """A model with its batches, and its counters."""

    model: Any
    loss: Loss
    batches: Iterator[Batch]
    seconds: float = 0.0
    num_tokens: int = 0
    num_pairs: int = 0

    def train(self) -> None:
        """Trains on one batch, forward and backward."""
        batch = next(self.batches)
        began = time.monotonic()
        loss = self.loss(self.model, batch.tensors)
        (loss / batch.work.targets).backward()
        self.model.zero_grad()
        self.seconds += time.monotonic() - began
        self.num_tokens += batch.num_tokens
        self.num_pairs += batch.num_pairs


def run() -> list[Row]:
    """Measures packing efficiency, speed, and the difference of the losses."""
    real = pair_lengths()
    lossless, fastchat = (shrunk(each, by=4) for each in (real.lossless, real.fastchat))
    return [
        *_fills(real.lossless),
        *_speeds(lossless, fastchat),
        *_losses(PairLengths(lossless.source[:64], lossless.target[:64])),
    ]


def _fills(lengths: PairLengths) -> Iterator[Row]:
    plans = {name: RandomPairs(lengths).plan(name, num_pairs=_BATCH_SIZE) for name in _OURS}
    reports = {name: plan.report() for name, plan in plans.items()}
    theirs = reports["padded"]
    for name, goal in zip(_OURS[1:], ("", ">= 97"), strict=True):
        ours = reports[name]
        for side, fill, other in (
            ("source", ours.source_fill, theirs.source_fill),
            ("target", ours.target_fill, theirs.target_fill),
        ):
            percent = 100 * fill
            yield Row(f"{name}: fill, {side}", percent, 100 * other, percent, "%", goal)


def _speeds(lossless: PairLengths, fastchat: PairLengths) -> Iterator[Row]:
    pairs = RandomPairs(lossless, _VOCABULARY)
    ways = {
        name: _Way(
            _model(FlanT5), own_loss, pairs.batches(name, num_pairs=_BATCH_SIZE, device=_CPU)
        )
        for name in _OURS
    }
    stock = _stock(pairs)
    fast = _stock(RandomPairs(fastchat, _VOCABULARY))
    everyone = [*ways.values(), stock, fast]
    for way in everyone:
        way.train()
        way.seconds = way.num_tokens = way.num_pairs = 0
    for _, way in itertools.product(range(_NUM_ROUNDS), everyone):
        way.train()
    for name, way in ways.items():
        speed, other = way.num_tokens / way.seconds, stock.num_tokens / stock.seconds
        goal = "" if name == "padded" else ">= 2.4"
        yield Row(f"{name}: real tokens", speed, other, speed / other, "tokens/s", goal)
    for name, way in ways.items():
        speed, other = way.num_pairs / way.seconds, fast.num_pairs / fast.seconds
        goal = "" if name == "padded" else ">= 3"
        row = f"{name}: conversations, against FastChat's tokens"
        yield Row(row, speed, other, speed / other, "pairs/s", goal)


def _stock(pairs: RandomPairs) -> _Way:
    batches = pairs.batches("padded", num_pairs=_BATCH_SIZE, device=_CPU)
    return _Way(_model(T5ForConditionalGeneration), stock_loss, batches)


@torch.no_grad()
def _losses(lengths: PairLengths) -> Iterator[Row]:
    pairs = RandomPairs(lengths, _VOCABULARY)
    stock = _model(T5ForConditionalGeneration).eval()
    ours = _model(FlanT5).eval()
    ours.load_state_dict(stock.state_dict())
    theirs = _total(stock, stock_loss, pairs, "padded")
    for name in _OURS:
        total = _total(ours, own_loss, pairs, name)
        apart = abs(total / theirs - 1)
        yield Row(
            f"{name}: loss of 64 pairs, how far apart",
            total,
            theirs,
            apart,
            "nat",
            "<= 1e-05",
        )


def _total(model: Any, loss: Loss, pairs: RandomPairs, batching: Batching) -> float:
    batches = pairs.batches(batching, num_pairs=_BATCH_SIZE, device=_CPU)
    return sum(loss(model, batch.tensors).item() for batch in batches)


def _model(kind: type[Any]) -> Any:
    settings: dict[str, Any] = {"decoder_start_token_id": 0, "tie_word_embeddings": False}
    config = T5Config(
        vocab_size=_VOCABULARY,
        d_model=256,
        d_kv=64,
        d_ff=512,
        num_heads=4,
        num_layers=4,
        num_decoder_layers=4,
        feed_forward_proj="gated-gelu",
        **settings,
    )
    torch.manual_seed(0)
    return kind(config).train()


if __name__ == "__main__":
    print(table(run()))
