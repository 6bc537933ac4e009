"""Checks free disk space before a save.

The size of a checkpoint is known in advance: the weights, the optimizer's state for each trained
weight, and small files.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as HfTrainingArguments
from transformers.training_args import OptimizerNames

from flant5_train.estimates.checkpoint import metadata_bytes, optimizer_state_bytes
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.host import free_bytes
from flant5_train.training.checkpoints import complete_checkpoints


@dataclass(frozen=True, slots=True)
class SaveSize:
    """Size of a save, in bytes."""

    checkpoint: int
    final_model: int

    @classmethod
    def of(cls, model: nn.Module, training: HfTrainingArguments, *, num_logs: int) -> "SaveSize":
        """Returns the sizes; `num_logs` is the number of logs in `trainer_state.json`.

        A parameter that is sharded over processes counts in full, as it is saved in full. With
        adapters, a checkpoint holds only the trained weights; the final model holds all.
        """
        config: Any = model.config
        small = metadata_bytes(config.vocab_size, num_logs=num_logs)
        optimizer = OptimizerNames(training.optim).value
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        shapes = [tuple(parameter.shape) for parameter in trained]
        return cls(
            checkpoint=weight_bytes(trained) + optimizer_state_bytes(shapes, optimizer) + small,
            final_model=weight_bytes(model.parameters()) + small,
        )


def weight_bytes(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def first_need(size: SaveSize, output_dir: Path, *, steps_left: bool) -> tuple[str, int]:
    """Returns the name and the size of the first thing that a run writes.

    Without an earlier checkpoint this includes the final model: the first checkpoint and the final
    model always exist side by side.
    """
    if not steps_left:
        return "the final model", size.final_model
    if complete_checkpoints(output_dir):
        return "the next checkpoint", size.checkpoint
    return "the first checkpoint and the final model", size.checkpoint + size.final_model


def require_disk_space(what: str, needed: int, directory: Path, *, device: torch.device) -> None:
    """Raises TrainingError in all processes if one of them finds less than `needed` bytes.

    All processes must call it. If one stopped alone, the files of the others would be left behind.
    """
    free = free_bytes(directory)
    lowest = torch.tensor(free, dtype=torch.int64, device=device)
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(lowest, op=dist.ReduceOp.MIN)
    free = int(lowest.item())
    if free < needed:
        raise TrainingError(
            FailureCode.DISK_FULL,
            f"the disk is too full for {what}: {free} bytes are free in {directory}, about"
            f" {needed} are needed. Nothing was written; complete checkpoints are intact",
        )


class DiskSpaceGuard(TrainerCallback):
    """Refuses to start training if the disk has no space for the first save."""

    def on_train_begin(
        self,
        args: HfTrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        output_dir = Path(str(args.output_dir))
        size = SaveSize.of(kwargs["model"], args, num_logs=len(state.log_history))
        steps_left = state.global_step < state.max_steps
        what, needed = first_need(size, output_dir, steps_left=steps_left)
        require_disk_space(what, needed, output_dir, device=args.device)
