"""`flant5_run.json`: what a run was, kept in each of its checkpoints and beside its final model.

    {"format": 1, "flant5": "0.9.0",
     "identity": {"training_data": "5b0c...", "learning_rate": 0.0001, "num_processes": 2, ...},
     "labels": {"training_data": "conversations.json", ...},
     "changes": [{"step": 200, "differences": [{"name": "learning_rate", "before": 0.0001, ...}]}],
     "finished": {"step": 300, "train_loss": 1.2, "tokens_seen": 81250}}

The identity holds what another model would come of, if it were different. Files and models are in
it by a digest of their content, so that they may be moved; their names are labels for people.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from flant5_train.failure import FailureCode, TrainingError

RUN_RECORD = "flant5_run.json"
BATCH_PLAN = "batch_plan"
"""Follows from the other values, but for the version of the program that plans."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Difference(_Frozen):
    """One value that is not what it was."""

    name: str
    before: JsonValue
    now: JsonValue

    def __str__(self) -> str:
        return f"{self.name} was {self.before!r} and is {self.now!r}"


class Change(_Frozen):
    """A run that was deliberately gone on with by other values."""

    step: int
    """Of the checkpoint that it went on from."""
    differences: tuple[Difference, ...]


class Finished(_Frozen):
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
    finished: Finished | None = None

    def differences_to(
        self, now: "RunRecord", *, defaults: Mapping[str, JsonValue]
    ) -> tuple[Difference, ...]:
        """What is not as it was. A value that this record's version did not know was its default;
        the batch plan alone differs when another version of the program planned it."""
        names = [*now.identity, *(name for name in self.identity if name not in now.identity)]
        found = tuple(
            Difference(name=name, before=self._shown(name, before), now=now._shown(name, value))
            for name in names
            if (before := self.identity.get(name, defaults.get(name)))
            != (value := now.identity.get(name, defaults.get(name)))
        )
        return tuple(each for each in found if each.name != BATCH_PLAN) or found

    def _shown(self, name: str, value: JsonValue) -> JsonValue:
        """`talks.json (5b0c1f2a9d3e)` for a digest, whose file may have kept its name."""
        label = self.labels.get(name)
        return f"{label} ({str(value)[:12]})" if label and value is not None else value

    def write(self, directory: Path) -> None:
        text = self.model_dump_json(indent=1) + "\n"
        (directory / RUN_RECORD).write_text(text, encoding="utf-8")


def read_record(directory: Path) -> RunRecord | None:
    """The record in a directory, or None where there is none. Raises TrainingError for one that is
    damaged or of a later version."""
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
            f"{path}: {place}: {fault['msg']}; expected the record of a run by this version of"
            " flant5 or an older one. Choose another output_dir, or remove this one",
            param="output_dir",
        ) from error


def as_lines(changes: tuple[Change, ...]) -> Iterator[str]:
    """One sentence for each change, for people."""
    for change in changes:
        what = ", ".join(map(str, change.differences))
        yield f"From step {change.step} on the run went on with other values: {what}."
