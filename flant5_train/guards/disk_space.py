"""Room on the disk, looked for before anything is written.

What a checkpoint takes is known before the first one: the weights, the optimizer's state for each
trained weight, and small files.
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

from flant5_train.checkpoints import complete_checkpoints
from flant5_train.disk import free_bytes
from flant5_train.failure import FailureCode, TrainingError
from flant5_train.small_files import small_files_bytes
from flant5_train.weight_shapes import optimizer_state_bytes


@dataclass(frozen=True, slots=True)
class SaveSize:
    """Bytes that a save takes."""

    checkpoint: int
    final_model: int

    @classmethod
    def of(cls, model: nn.Module, training: HfTrainingArguments, *, num_logs: int) -> "SaveSize":
        """`num_logs` are kept in `trainer_state.json`.

        A parameter that is split over processes counts whole: it is saved whole. Of a model with
        adapters a checkpoint holds what is trained, and the final model everything.
        """
        config: Any = model.config
        small = small_files_bytes(config.vocab_size, num_logs=num_logs)
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
    """What a run writes first, and the bytes of it.

    With no checkpoint before it, the first one and the final model lie side by side in any case.
    """
    if not steps_left:
        return "the final model", size.final_model
    if complete_checkpoints(output_dir):
        return "the next checkpoint", size.checkpoint
    return "the first checkpoint and the final model", size.checkpoint + size.final_model


def require_room(what: str, needed: int, directory: Path, *, device: torch.device) -> None:
    """Raises TrainingError in all processes when one of them, which call this together, finds less
    than `needed` bytes: one that stopped alone would leave the others' parts behind."""
    free = free_bytes(directory)
    lowest = torch.tensor(free, dtype=torch.int64, device=device)
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(lowest, op=dist.ReduceOp.MIN)
    free = int(lowest.item())
    if free < needed:
        raise TrainingError(
            FailureCode.DISK_FULL,
            f"the disk is too full for {what}: {free} bytes are free in {directory}, about"
            f" {needed} are needed. Nothing was written, and what was complete before is unharmed",
        )


class RequireRoom(TrainerCallback):
    """Refuses to train when not even what is written first has room."""

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
        require_room(what, needed, output_dir, device=args.device)
