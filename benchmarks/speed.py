"""Training speed: tokens, pairs and FLOPs per second."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.random_pairs import Batch
from flant5_train.estimates.flops import ModelShape, training_flops

Loss = Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Speed:
    """Counts per second of wall time, except for the last two fields."""

    num_tokens: float
    """Real tokens, without padding."""
    num_pairs: float
    flops: float
    """FLOPs of the model for real tokens, without recomputed activations."""
    peak_bytes: int
    """Peak GPU memory; 0 on a CPU."""
    seconds: float


def own_loss(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns the summed loss of FlanT5."""
    loss: torch.Tensor = model(**tensors).loss
    return loss


def stock_loss(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns the summed loss of the library's T5, which itself returns a mean."""
    loss: torch.Tensor = model(**tensors).loss
    return loss * (tensors["labels"] != -100).sum()


@dataclass(frozen=True, slots=True)
class Training:
    """A model with its optimizer and loss."""

    model: Any
    optimizer: torch.optim.Optimizer
    loss: Loss
    bf16: bool

    def step(self, batches: Sequence[Batch]) -> float:
        """Runs one optimizer step over micro-batches. Returns the mean loss per target token."""
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
    """Measures all steps except the first, which runs twice before the clock starts."""
    training.model.train()
    if is_cuda := torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        training.step(steps[0])
    began = time.monotonic()
    for step in steps[1:]:
        training.step(step)  # returns when the GPU has computed the loss
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
