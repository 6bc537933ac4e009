"""Hugging Face Trainer that keeps the newest complete checkpoints and the best one."""

from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from flant5_train.disk import writing
from flant5_train.models.exported_model import complete_export
from flant5_train.protocol.progress import BestChosen, CheckpointSaved, PhaseChange
from flant5_train.resume.record import RunRecord
from flant5_train.resume.settings import settings_of_this_run
from flant5_train.selection.choice import Selection
from flant5_train.selection.evaluations import eval_losses
from flant5_train.sharding_trainer import ShardingTrainer
from flant5_train.training.callbacks.disk_space import SaveSize, require_room
from flant5_train.training.callbacks.reporting import Report
from flant5_train.training.checkpoints import (
    mark_complete,
    remove_checkpoint,
    remove_old_checkpoints,
    step_of,
)


class SavingTrainer(ShardingTrainer):
    """Keeps the `keep_checkpoints` newest complete checkpoints, and the best one by `selection`."""

    def __init__(
        self,
        *,
        report: Report,
        keep_checkpoints: int,
        selection: Selection,
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

    def require_room_for_final_model(self) -> None:
        """Raises TrainingError if the disk lacks space for the final model."""
        self._require_room("the final model", self._save_size().final_model)

    def _require_room(self, what: str, num_bytes: int) -> None:
        require_room(what, num_bytes, self._output_dir, device=self.args.device)

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
        self._require_room(checkpoint.name, self._save_size().checkpoint)
        with writing(checkpoint.name, output_dir, undo=partial(self._give_up, checkpoint)):
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
