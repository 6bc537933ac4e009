"""Decides how a run starts: from the base model, from a checkpoint in output_dir, or not at all."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from flant5_train.config import AcceptCheckpoint
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.resume.record import (
    ENCODING,
    OF_VERSION,
    Change,
    FinishedRun,
    RunRecord,
    SettingDifference,
    read_record,
)
from flant5_train.training.checkpoints import newest_complete_checkpoint, step_of

logger = logging.getLogger(__name__)

_FIXED = frozenset(
    {
        "base_model",
        ENCODING,
        "finetuning_type",
        "lora_rank",
        "lora_target_modules",
        "optim",
        "sharding",
        "tokenization",
    }
)
"""Values that must not change: a checkpoint's weights or optimizer state could not be used, or the
new value would have no effect."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_START_FROM_MODEL = (
    "there is no checkpoint to resume; expected another output_dir, or this one as"
    " model_name_or_path to start from that model"
)
_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no", "none", "")


@dataclass(frozen=True, slots=True)
class RunStart:
    """The beginning of a run."""

    checkpoint: Path | None
    """The checkpoint to resume; None starts from the base model."""
    record: RunRecord
    """The record to save in the run's checkpoints and beside its final model."""
    change: Change | None = None
    """The change made by this start; also the last one of the record."""
    finished: FinishedRun | None = None
    """Set when the run is complete: there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Present:
    """The run to start."""

    record: RunRecord
    num_steps: int
    accepts: AcceptCheckpoint
    resume_from: str | None
    """`--resume_from_checkpoint`."""
    defaults: Mapping[str, JsonValue]


def start_of(output_dir: Path, present: Present) -> RunStart:
    """Returns how the run starts, from the content of `output_dir`. Raises TrainingError if it
    holds another run, unless `present.accepts` allows it."""
    checkpoint = newest_complete_checkpoint(output_dir)
    _refuse_missing_checkpoint(output_dir, checkpoint, present.resume_from)
    if checkpoint is None and not holds_model(output_dir):
        return RunStart(None, present.record)
    of_model = _record_of_model(output_dir, has_checkpoint=checkpoint is not None)
    found = of_model if checkpoint is None else read_record(checkpoint)
    if found is None:
        return _start_unrecorded(output_dir, checkpoint, present)
    differences = found.differences_to(present.record, defaults=present.defaults)
    if not _accepts(differences, present):
        return _start_changed(checkpoint or output_dir, found, differences, present)
    record = present.record.model_copy(update={"changes": found.changes})
    if of_model is not None and _accepts(
        of_model.differences_to(present.record, defaults=present.defaults), present
    ):
        return RunStart(checkpoint, record, finished=of_model.finished)
    if checkpoint is not None and differences:
        return _go_on(checkpoint, found, differences, present)
    return RunStart(checkpoint, record)


def holds_model(output_dir: Path) -> bool:
    """Returns True if the directory holds a finished model."""
    return any((output_dir / name).is_file() for name in _WEIGHTS)


def _record_of_model(output_dir: Path, *, has_checkpoint: bool) -> RunRecord | None:
    """Returns the record of the finished model, or None. If there is a checkpoint, a damaged record
    counts as none: the model can be written again."""
    if not holds_model(output_dir):
        return None
    try:
        return read_record(output_dir)
    except TrainingError as error:
        if not has_checkpoint:
            raise
        logger.warning("resume: writing the final model again, its record is damaged: %s", error)
        return None


def _accepts(differences: tuple[SettingDifference, ...], present: Present) -> bool:
    """Returns True for an equal run. A job of the service also accepts the effects of an upgrade:
    its owner can neither undo it nor choose another output_dir."""
    names = {each.name for each in differences}
    return not names or (present.accepts == "unrecorded" and names <= OF_VERSION)


def _go_on(
    checkpoint: Path, found: RunRecord, differences: tuple[SettingDifference, ...], present: Present
) -> RunStart:
    change = Change(step=step_of(checkpoint), differences=differences)
    changes = (*found.changes, change)
    return RunStart(checkpoint, present.record.model_copy(update={"changes": changes}), change)


def _start_unrecorded(output_dir: Path, checkpoint: Path | None, present: Present) -> RunStart:
    if checkpoint is None:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"output_dir {output_dir} holds a finished model without a record of its run (made by"
            f" an older version, or not by flant5), and {_START_FROM_MODEL}",
            param="output_dir",
        )
    if present.accepts == "same":
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"output_dir {output_dir} holds {checkpoint.name} without a record of its run (made by"
            " an older version, or not by flant5), so it can't be compared with this run;"
            " expected another output_dir, or an empty one. To use it anyway, add"
            " --accept_checkpoint unrecorded",
            param="output_dir",
        )
    logger.warning("resume: %s has no run record; settings are not compared", checkpoint.name)
    return RunStart(checkpoint, present.record)


def _start_changed(
    place: Path, found: RunRecord, differences: tuple[SettingDifference, ...], present: Present
) -> RunStart:
    """Resumes another run, or raises TrainingError. `place` is a checkpoint, or the output_dir with
    a finished model."""
    what = ", ".join(map(str, differences))
    if not place.name.startswith("checkpoint-"):
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"output_dir {place} holds the finished model of another run: {what};"
            f" {_START_FROM_MODEL}",
            param="output_dir",
        )
    if present.accepts != "changed":
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"output_dir {place.parent} holds {place.name} of another run: {what};"
            " expected equal values, to resume that run. For a new run choose another output_dir,"
            " or remove this one. To resume with these values anyway, add"
            " --accept_checkpoint changed: the model will then match neither run, and pairs of the"
            " interrupted epoch may be trained on twice or not at all",
            param="output_dir",
        )
    if fixed := [each for each in differences if each.name in _FIXED]:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"{place} is of another run, whose weights and optimizer state can't be used by this"
            f" one: {', '.join(map(str, fixed))}; expected another output_dir. To start from those"
            " weights, set model_name_or_path to that directory",
            param="output_dir",
        )
    if (step := step_of(place)) >= present.num_steps:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"{place} of another run ({what}) is at step {step}, and this run has only"
            f" {present.num_steps} steps: nothing is left to train; expected a larger max_steps or"
            " num_train_epochs, or another output_dir",
            param="max_steps",
        )
    return _go_on(place, found, differences, present)


def _refuse_missing_checkpoint(
    output_dir: Path, checkpoint: Path | None, resume_from: str | None
) -> None:
    asked = (resume_from or "").strip()
    if asked.lower() in _FALSE:
        return
    if asked.lower() in _TRUE and checkpoint is not None:
        return
    if checkpoint is not None and Path(asked).resolve() == checkpoint.resolve():
        return
    newest = "which has no complete checkpoint" if checkpoint is None else f"with {checkpoint.name}"
    raise TrainingError(
        FailureCode.BAD_CONFIG,
        f"resume_from_checkpoint is {asked!r}, but a run always resumes the newest complete"
        f" checkpoint of its output_dir ({output_dir}, {newest}); expected that one, or no such"
        " argument. For a new run from the weights of another checkpoint, set model_name_or_path to"
        " its directory",
        param="resume_from_checkpoint",
    )
