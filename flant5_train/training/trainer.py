"""Hugging Face Trainer on planned batches, with an exact loss and step reports.

Its base, `SavingTrainer`, keeps the newest complete checkpoints and the best one.
"""

import itertools
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from flant5_train.arguments import TrainingArguments
from flant5_train.batching.loader import ADAM_STATES, Example, TrainingBatches, memory_dry_run
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.dataset import SupervisedDataset
from flant5_train.disk import disk_full_context
from flant5_train.estimates.flops import ModelShape, training_flops
from flant5_train.models.exported_model import complete_export
from flant5_train.models.loss import IGNORED
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.progress import BestChosen, CheckpointSaved, PhaseChange
from flant5_train.resume.record import RunRecord, settings_of_this_run
from flant5_train.training.callbacks.disk_space import SaveSize, require_disk_space
from flant5_train.training.callbacks.early_stopping import CheckpointSelector, eval_losses
from flant5_train.training.callbacks.out_of_memory import explaining_out_of_memory
from flant5_train.training.callbacks.reporting import ProgressSink
from flant5_train.training.checkpoints import (
    mark_complete,
    remove_checkpoint,
    remove_old_checkpoints,
    step_of,
)
from flant5_train.training.evaluation import validate
from flant5_train.training.fsdp import ShardingTrainer
from flant5_train.training.telemetry import Counter


class SavingTrainer(ShardingTrainer):
    """Keeps the `keep_checkpoints` newest complete checkpoints, and the best one by `selection`."""

    def __init__(
        self,
        *,
        report: ProgressSink,
        keep_checkpoints: int,
        selection: CheckpointSelector,
        record: RunRecord,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._record = record
        self._report = report
        self._keep_checkpoints = keep_checkpoints
        self._selection = selection
        self._last_metrics: dict[str, float] = {}

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        changes = self._record.changes
        is_changed = bool(changes) and changes[-1].step == self.state.global_step
        own = settings_of_this_run(self.optimizer, self.lr_scheduler)
        with own if checkpoint and is_changed else nullcontext():
            super()._load_optimizer_and_scheduler(checkpoint)

    def load_best(self) -> None:
        """Loads the weights of the best checkpoint, if the run selects one."""
        best = self._selection.best(self._output_dir, self.state.log_history)
        if best is None:
            return
        step = step_of(best)
        if step != self.state.global_step:
            # Under sharding, a resume loads into the wrapped model.
            model = self.model_wrapped if self.is_fsdp_enabled else None
            self._load_from_checkpoint(str(best), model)
        losses = eval_losses(self.state.log_history)
        self._report(BestChosen(step=step, eval_loss=losses[step]))

    def require_disk_space_for_final_model(self) -> None:
        """Raises TrainingError if the disk lacks space for the final model."""
        self._require_disk_space("the final model", self._save_size().final_model)

    def _require_disk_space(self, what: str, num_bytes: int) -> None:
        require_disk_space(what, num_bytes, self._output_dir, device=self.args.device)

    def _save_size(self) -> SaveSize:
        assert self.model is not None
        return SaveSize.of(self.model, self.args, num_logs=len(self.state.log_history))

    @property
    def _output_dir(self) -> Path:
        assert self.args.output_dir is not None
        return Path(self.args.output_dir)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            complete_export(Path(output_dir) if output_dir is not None else self._output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        output_dir = self._output_dir
        checkpoint = output_dir / f"checkpoint-{self.state.global_step}"
        self._report(PhaseChange(phase="saving"))
        self._require_disk_space(checkpoint.name, self._save_size().checkpoint)
        with disk_full_context(
            checkpoint.name, output_dir, undo=partial(self._give_up, checkpoint)
        ):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self._record.write(checkpoint)
                mark_complete(checkpoint)
        if self.args.should_save:
            best = self._selection.best(output_dir, self.state.log_history)
            remove_old_checkpoints(output_dir, keep=self._keep_checkpoints, best=best)
            self._report(
                CheckpointSaved(
                    step=self.state.global_step,
                    path=str(checkpoint),
                    metrics=self._last_metrics,
                )
            )
        self._report(PhaseChange(phase="training"))

    def _give_up(self, checkpoint: Path) -> None:
        """Removes a checkpoint that can't be completed.

        The process that writes most of it removes all of it, any other its own part.
        """
        if self.args.should_save:
            # Another process may still be writing; the next run removes the rest.
            with suppress(OSError):
                remove_checkpoint(checkpoint)
        else:
            own = checkpoint / f"rng_state_{self.args.process_index}.pth"
            own.unlink(missing_ok=True)


class ConversationTrainer(SavingTrainer):
    """Trains on the pairs of planned batches."""

    def __init__(self, *, batches: TrainingBatches, **kwargs: Any) -> None:
        # `compute_loss` handles the number of targets in a step, not the model.
        kwargs["model"].accepts_loss_kwargs = False
        super().__init__(**kwargs)
        self.loss_is_scaled_for_ga = True
        self._batches = batches
        self._share = batches.share(self.args.process_index)
        self._shape = ModelShape.of(kwargs["model"].config)
        self._counter = Counter()
        self._batch: Mapping[str, torch.Tensor] | None = None

    def get_train_dataloader(self) -> DataLoader[Example]:
        """Returns this process's micro-batches. accelerate must not prepare them: it would shard
        them again."""
        return self._batches.loader(
            self._share,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        self._agree_on_the_plan()
        self._run_largest_batch()
        return prepared

    def _agree_on_the_plan(self) -> None:
        """Raises TrainingError if processes planned different batches.

        Without this, some pairs would be trained on twice and others never.
        """
        own = torch.tensor(self._batches.plan.fingerprint, device=self.args.device)
        if len(set(self.accelerator.gather(own.reshape(1)).tolist())) > 1:
            raise TrainingError(
                FailureCode.BAD_CONFIG,
                "the processes planned different batches from the same data; expected the same"
                " versions of flant5 and numpy on all nodes",
            )

    def _init_training_state(self, max_steps: int, *args: Any, **kwargs: Any) -> Any:
        """Applies logging_steps, eval_steps and save_steps of the arguments to a resumed run.

        The library would keep those of the checkpoint.
        """
        found = super()._init_training_state(max_steps, *args, **kwargs)
        self.state.compute_steps(self.args, max_steps)
        return found

    def _run_largest_batch(self) -> None:
        """Dry-runs the largest batch, without DDP: nothing must be shared with other processes."""
        assert self.optimizer is not None, "the library's loop has just created it"
        batch = self._batches.largest()
        num_items = (batch["labels"] != IGNORED).sum().to(self.args.device)
        is_adam = self.args.optim.startswith("adamw")
        memory_dry_run(
            lambda model: self.training_step(model, batch, num_items),
            self.accelerator.unwrap_model(self.model_wrapped),
            room_for=ADAM_STATES if is_adam and not self.optimizer.state else 0,
        )

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """Returns the micro-batches of one optimizer step, and its number of targets in all
        processes.

        Also counts the tokens, without waiting for the device.
        """
        batches = [*itertools.islice(epoch_iterator, num_batches)]
        num_targets = torch.zeros((), dtype=torch.int64)
        for batch in batches:
            self._counter.add(batch)
            num_targets += (batch["labels"] != IGNORED).sum()
        num_targets = num_targets.to(device)
        return batches, self.accelerator.reduce(num_targets, reduction="sum")

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Returns this micro-batch's share of the mean over all targets of the optimizer step.

        The library's loss for T5 is a mean per micro-batch, used as a share. Loss and gradients
        would grow with accumulation steps and processes.
        """
        assert num_items_in_batch is not None, "get_batch_samples counts them"
        outputs = model(**inputs)
        # Gradients are averaged over the processes; the count covers all of them.
        loss = outputs.loss * (self.accelerator.num_processes / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def floating_point_ops(self, inputs: Any) -> int:
        """Returns 0: `log` adds exact counts.

        The library's estimate is for models of one stack, counts padding and omits attention.
        """
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the counts of all processes to the state before it is logged or saved."""
        if "loss" in logs:
            trained = self._counter.take(self._total)
            logs["flops"] = training_flops(self._shape, trained.work)
            logs |= {"source_fill": trained.source_fill, "target_fill": trained.target_fill}
            self.state.num_input_tokens_seen += trained.num_tokens
            self.state.total_flos += logs["flops"]
            self._last_metrics = {"train_loss": logs["loss"]}
        super().log(logs, start_time)

    def _total(self, counts: torch.Tensor) -> torch.Tensor:
        total = self.accelerator.reduce(counts.to(self.args.device), reduction="sum")
        assert isinstance(total, torch.Tensor)
        return total

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Skips the epoch if training is complete.

        The library's loop checks only after a step: resumed after the last step, it would train
        one more.
        """
        if self.state.global_step >= self.state.max_steps or self.has_stopped_early:
            self.control.should_training_stop = True
        else:
            self._share.set_epoch(kwargs["epoch"])
            super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains the model. Raises TrainingError if the GPU runs out of memory."""
        assert self.model is not None
        with explaining_out_of_memory(self.args, self.model, batch=lambda: self._batch):
            return super().train(*args, **kwargs)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._batch = inputs  # for the out-of-memory error
        return super().training_step(model, inputs, *args, **kwargs)

    @property
    def has_stopped_early(self) -> bool:
        """True if early stopping has ended training."""
        return self._selection.early_stopping.is_due(self.state.log_history)

    def mean_loss(self) -> float:
        """Returns the mean training loss over all steps, including those before a resume."""
        logged = [entry for entry in self.state.log_history if "loss" in entry]
        steps = [0, *(entry["step"] for entry in logged)]
        total = sum(
            entry["loss"] * (step - before)
            for entry, before, step in zip(logged, steps, steps[1:], strict=False)
        )
        return float(total / max(1, steps[-1]))

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluates exactly per token; the library averages the means of batches."""
        assert isinstance(self.eval_dataset, SupervisedDataset)
        assert isinstance(self.data_collator, DataCollatorForSupervisedDataset)
        assert isinstance(self.model, torch.nn.Module)
        assert isinstance(self.args, TrainingArguments)
        self._report(PhaseChange(phase="evaluating"))
        found = validate(self.model, self.eval_dataset, self.data_collator, args=self.args)
        metrics = found.metrics
        self._last_metrics |= metrics
        # First, because it refuses a non-finite loss. A copy, because `log` adds to it.
        self.log({**metrics})
        for record in found.records(self.state.global_step):
            self._report(record)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        self._report(PhaseChange(phase="training"))
        return metrics
