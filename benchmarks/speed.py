"""How fast a model is trained: tokens, pairs and FLOPs by the second."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.random_pairs import Batch
from flant5_train.flops import ModelShape, training_flops

Loss = Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Speed:
    """Per second of wall time, but for the last two."""

    num_tokens: float
    """Real ones: padding not counted."""
    num_pairs: float
    flops: float
    """Those that the model needs for the real tokens; not those of recomputed activations."""
    peak_bytes: int
    """Of the GPU's memory; 0 on a processor."""
    seconds: float


def own_loss(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss of FlanT5, summed."""
    loss: torch.Tensor = model(**tensors).loss
    return loss


def stock_loss(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss of the library's T5, a mean; summed."""
    loss: torch.Tensor = model(**tensors).loss
    return loss * (tensors["labels"] != -100).sum()


@dataclass(frozen=True, slots=True)
class Training:
    """A model in training: what one optimizer step does."""

    model: Any
    optimizer: torch.optim.Optimizer
    loss: Loss
    bf16: bool

    def step(self, batches: Sequence[Batch]) -> float:
        """One optimizer step over several micro-batches; the mean loss of its target tokens."""
        count = sum(batch.work.targets for batch in batches)
        device = batches[0].tensors["labels"].device.type
        total = torch.zeros((), device=device)
        for batch in batches:
            with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
                loss = self.loss(self.model, batch.tensors) / count
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total.item()


def measure_speed(training: Training, steps: Sequence[Sequence[Batch]]) -> Speed:
    """Of all steps but the first, which is run twice before the clock starts."""
    training.model.train()
    if is_cuda := torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        training.step(steps[0])
    began = time.monotonic()
    for step in steps[1:]:
        training.step(step)  # it ends when the GPU has told the loss
    seconds = time.monotonic() - began
    done = [batch for step in steps[1:] for batch in step]
    shape = ModelShape.of(training.model.config)
    return Speed(
        num_tokens=sum(batch.num_tokens for batch in done) / seconds,
        num_pairs=sum(batch.num_pairs for batch in done) / seconds,
        flops=sum(training_flops(shape, batch.work) for batch in done) / seconds,
        peak_bytes=torch.cuda.max_memory_allocated() if is_cuda else 0,
        seconds=seconds,
    )
