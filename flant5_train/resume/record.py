"""Run record `flant5_run.json`, saved in each checkpoint and beside the final model.

    {"format": 1, "flant5": "0.9.0",
     "identity": {"training_data": "5b0c...", "learning_rate": 0.0001, "num_processes": 2, ...},
     "labels": {"training_data": "conversations.json", ...},
     "changes": [{"step": 200, "differences": [{"name": "learning_rate", "before": 0.0001, ...}]}],
     "finished": {"step": 300, "train_loss": 1.2, "tokens_seen": 81250}}

The identity holds all values that change the resulting model. Files and models are identified by a
digest of their content, so they can be moved. Their names are labels for people.

`settings_of_this_run` keeps a new learning rate and other new optimizer settings when a checkpoint
is resumed with them.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from torch.optim.lr_scheduler import LambdaLR

from flant5_train.protocol.failure import FailureCode, TrainingError

RUN_RECORD = "flant5_run.json"
BATCH_PLAN = "batch_plan"
"""Determined by the other values and by the version of the planner."""
ENCODING = "encoding"
OF_VERSION = frozenset({ENCODING, BATCH_PLAN})
"""Values that another version of flant5 may derive from the same arguments."""
EVALUATION_TIMES = frozenset({"eval_strategy", "eval_steps", "eval_delay"})
"""Compared only when both records have them. They are recorded for runs whose final weights an
evaluation chooses, and not by older versions. Another argument already distinguishes these runs
from all others."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SettingDifference(_Frozen):
    """One value that has changed."""

    name: str
    before: JsonValue
    now: JsonValue

    def __str__(self) -> str:
        return f"{self.name} was {self.before!r} and is {self.now!r}"


class Change(_Frozen):
    """A deliberate resume with other values."""

    step: int
    """The step of the checkpoint that was resumed."""
    differences: tuple[SettingDifference, ...]


class FinishedRun(_Frozen):
    """The end of a run whose final model is complete."""

    step: int
    train_loss: float
    tokens_seen: int


class RunRecord(_Frozen):
    """The content of `flant5_run.json`."""

    format: Literal[1] = 1
    flant5: str
    identity: Mapping[str, JsonValue]
    labels: Mapping[str, str] = {}
    changes: tuple[Change, ...] = ()
    finished: FinishedRun | None = None

    def differences_to(
        self, now: "RunRecord", *, defaults: Mapping[str, JsonValue]
    ) -> tuple[SettingDifference, ...]:
        """Returns the values that changed. A value missing from this record had its default.

        The batch plan is listed only when nothing else changed: another version planned it then.
        """
        names = [*now.identity, *(name for name in self.identity if name not in now.identity)]
        found = tuple(
            SettingDifference(
                name=name, before=self._shown(name, before), now=now._shown(name, value)
            )
            for name in names
            if self._can_compare(name, now)
            and (before := self.identity.get(name, defaults.get(name)))
            != (value := now.identity.get(name, defaults.get(name)))
        )
        return tuple(each for each in found if each.name != BATCH_PLAN) or found

    def _can_compare(self, name: str, now: "RunRecord") -> bool:
        is_in_both = name in self.identity and name in now.identity
        return is_in_both or name not in EVALUATION_TIMES

    def _shown(self, name: str, value: JsonValue) -> JsonValue:
        """Returns `talks.json (5b0c1f2a9d3e)` for a digest: a changed file may keep its name."""
        label = self.labels.get(name)
        return f"{label} ({str(value)[:12]})" if label and value is not None else value

    def write(self, directory: Path) -> None:
        """Writes the file atomically. Without this, a partial file would make every later start
        fail."""
        path = directory / RUN_RECORD
        draft = path.with_name(f"{RUN_RECORD}.draft")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(self.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def read_record(directory: Path) -> RunRecord | None:
    """Returns the record in a directory, or None if there is none. Raises TrainingError if it is
    damaged or was written by a later version."""
    path = directory / RUN_RECORD
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"]) or "file"
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"{path}: {place}: {fault['msg']}; expected a run record written by this version of"
            " flant5 or an older one. Choose another output_dir, or remove this one",
            param="output_dir",
        ) from error


def as_lines(changes: tuple[Change, ...]) -> Iterator[str]:
    """Yields one sentence for each change, for people."""
    for change in changes:
        what = ", ".join(map(str, change.differences))
        if {each.name for each in change.differences} <= OF_VERSION:
            yield (
                f"From step {change.step} on another version of flant5 ran the same settings:"
                f" {what}. Pairs of the interrupted epoch may be trained on twice or not at all."
            )
        else:
            yield f"From step {change.step} on the run continued with other values: {what}."


@contextmanager
def settings_of_this_run(optimizer: Any, scheduler: Any) -> Iterator[None]:
    """Keeps this run's settings while a checkpoint's optimizer and scheduler are loaded.

    Their states are loaded, but the settings of each group (learning rate, decay, ...) stay. torch
    loads both. Without this, a new `learning_rate` would have no effect.
    """
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    rates = [*getattr(scheduler, "base_lrs", [])]
    yield
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
    if rates:
        scheduler.base_lrs = rates
    if isinstance(scheduler, LambdaLR):
        # The rates of the next step, which the last step would have set.
        shares = [share(scheduler.last_epoch) for share in scheduler.lr_lambdas]
        scheduler._last_lr = [rate * share for rate, share in zip(rates, shares, strict=True)]
        for group, rate in zip(optimizer.param_groups, scheduler._last_lr, strict=True):
            group["lr"] = rate
