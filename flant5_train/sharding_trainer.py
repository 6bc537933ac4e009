"""Hugging Face Trainer with fully sharded training and plain models as checkpoints."""

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments
from transformers.trainer import SCHEDULER_NAME
from transformers.training_args import OptimizerNames, ParallelMode

from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.training.fsdp import (
    full_weights,
    gathered,
    load_optimizer,
    load_weights,
    our_groups,
    save_optimizer,
    shard_on_any_device,
)


class ShardingTrainer(Trainer):
    """Shards the model if its arguments enable it.

    A checkpoint then contains the whole model as safetensors, like any other, and the optimizer
    state in shards.
    """

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.args.fsdp_plugin_args is not None:
            _refuse_what_cannot_be_sharded(self.model, self.args)
            shard_on_any_device(self.accelerator, self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        with our_groups():
            return super()._prepare_for_training(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with gathered(self._plain_model):
            return super()._evaluate(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.is_fsdp_enabled:
            weights = full_weights(self._plain_model)
            self._save(output_dir or self.args.output_dir, state_dict=weights)
        else:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        save_optimizer(self._plain_model, self.optimizer, Path(output_dir))
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            load_weights(self._plain_model, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.is_fsdp_enabled or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        load_optimizer(self._plain_model, self.optimizer, Path(checkpoint))
        scheduler = torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True)
        self.lr_scheduler.load_state_dict(scheduler)

    @property
    def _plain_model(self) -> torch.nn.Module:
        """The unwrapped model with plain weight names, even if compiled."""
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        assert isinstance(model, torch.nn.Module)
        return model


def _refuse_what_cannot_be_sharded(model: Any, args: TrainingArguments) -> None:
    if hasattr(model, "peft_config"):
        reason = "the model has LoRA adapters, which can't be sharded; expected sharding none"
    elif args.optim == OptimizerNames.ADAFACTOR:
        reason = "optim is adafactor, whose state can't be sharded; expected a kind of AdamW"
    elif args.parallel_mode != ParallelMode.DISTRIBUTED:
        reason = "this process was started without torchrun; start it with torchrun"
    else:
        return
    raise TrainingError(FailureCode.BAD_CONFIG, f"sharding is fsdp, but {reason}", param="sharding")
