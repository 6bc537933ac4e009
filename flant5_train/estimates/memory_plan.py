"""Memory plan of a run: fit into its GPUs, and settings that would make it fit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from flant5_train.estimates.memory import GIB, MemoryEstimate, Setup, estimate_memory

MAX_SUGGESTIONS = 3
_MAX_CHANGES = 4


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Estimated GPU memory of a run, and suggested settings if it does not fit."""

    estimate: MemoryEstimate
    gpu_bytes: int
    suggestions: tuple[str, ...] = ()
    """Each one makes the run fit, by the estimate. Empty if it fits or nothing helps."""

    @property
    def fits(self) -> bool:
        return self.estimate.total <= self.gpu_bytes

    def sentence(self) -> str:
        """Returns a text like "about 61.5 of 79.2 GiB of each GPU: it fits"."""
        of = f"about {self.estimate.total / GIB:.1f} of {self.gpu_bytes / GIB:.1f} GiB of each GPU"
        if self.fits:
            return f"{of}: it fits"
        remedy = f"; {'; or '.join(self.suggestions)}" if self.suggestions else ""
        return f"{of}: it may not fit{remedy}"


@dataclass(frozen=True, slots=True)
class _Change:
    """One way to reduce memory."""

    apply: Callable[[Setup, int], Setup | None]
    """Returns the changed setup for a GPU's memory; None if it changes nothing."""
    advice: Callable[[Setup], str]
    """Returns the setting as text, for the changed setup."""


def plan_memory(setup: Setup, *, gpu_bytes: int) -> MemoryPlan:
    """Compares the estimate with the memory of one GPU.

    Suggestions are the smallest sets of changes that make the run fit. First come those that cost
    the least time and change the result the least.
    """
    estimate = estimate_memory(setup)
    if estimate.total <= gpu_bytes:
        return MemoryPlan(estimate, gpu_bytes)
    for count in range(1, _MAX_CHANGES + 1):
        found = tuple(
            advice
            for changed, advice in _changed(setup, count, gpu_bytes)
            if estimate_memory(changed).total <= gpu_bytes
        )
        if found:
            return MemoryPlan(estimate, gpu_bytes, found[:MAX_SUGGESTIONS])
    return MemoryPlan(estimate, gpu_bytes)


def _changed(setup: Setup, count: int, gpu_bytes: int) -> Iterator[tuple[Setup, str]]:
    """Yields setups with `count` changes, each with its settings as text."""
    for changes in combinations(_CHANGES, count):
        changed: Setup | None = setup
        # Last: the batch shrinks only as far as the other changes require.
        for change in sorted(changes, key=lambda change: change is _SMALLER_BATCH):
            changed = changed and change.apply(changed, gpu_bytes)
        if changed is not None:
            yield changed, "set " + " and ".join(change.advice(changed) for change in changes)


def _bf16(setup: Setup, _: int) -> Setup | None:
    return None if setup.bf16 else replace(setup, bf16=True)


def _sharded(setup: Setup, _: int) -> Setup | None:
    can_be = setup.num_gpus > 1 and setup.finetuning_type == "full" and setup.optim != "adafactor"
    return replace(setup, is_sharded=True) if can_be and not setup.is_sharded else None


def _smaller_batch(setup: Setup, gpu_bytes: int) -> Setup | None:
    """Returns the setup with the largest batch that fits, found by halving."""
    batch = setup.batch
    while batch.num_pairs > 1:
        batch = batch.halved()
        smaller = replace(setup, batch=batch)
        if estimate_memory(smaller).total <= gpu_bytes:
            return smaller
    return None


def _checkpointed(setup: Setup, _: int) -> Setup | None:
    return None if setup.gradient_checkpointing else replace(setup, gradient_checkpointing=True)


def _adafactor(setup: Setup, _: int) -> Setup | None:
    can_be = not setup.is_sharded and setup.finetuning_type == "full"
    return replace(setup, optim="adafactor") if can_be and setup.optim != "adafactor" else None


def _lora(setup: Setup, _: int) -> Setup | None:
    can_be = not setup.is_sharded and setup.finetuning_type == "full"
    return replace(setup, finetuning_type="lora") if can_be else None


_SMALLER_BATCH = _Change(
    _smaller_batch,
    lambda setup: (
        f"per_device_train_batch_size={setup.batch.num_pairs} with proportionally more"
        " gradient_accumulation_steps"
    ),
)
_CHANGES = (
    _Change(_bf16, lambda _: "bf16=true"),
    _Change(_sharded, lambda setup: f"sharding=fsdp over the {setup.num_gpus} GPUs"),
    _SMALLER_BATCH,
    _Change(_checkpointed, lambda _: "gradient_checkpointing=true"),
    _Change(_adafactor, lambda _: "optim=adafactor"),
    _Change(_lora, lambda _: "finetuning_type=lora"),
)
