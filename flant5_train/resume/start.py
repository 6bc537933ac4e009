"""The start of a run: from nothing, from a checkpoint of its output_dir, or not at all."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from flant5_train.checkpoints import newest_complete_checkpoint, step_of
from flant5_train.config import AcceptCheckpoint
from flant5_train.failure import FailureCode, TrainingError
from flant5_train.resume.record import (
    ENCODING,
    OF_VERSION,
    Change,
    Difference,
    Finished,
    RunRecord,
    read_record,
)

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
"""Values that the weights or the optimizer's state of a checkpoint can't be used with, or without
effect."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_START_FROM_MODEL = (
    "there is no checkpoint to go on from; expected another output_dir, or this one as"
    " model_name_or_path to start from that model"
)
_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no", "none", "")


@dataclass(frozen=True, slots=True)
class Start:
    """The beginning of a run."""

    checkpoint: Path | None
    """To go on from; None: from the base model."""
    record: RunRecord
    """To be kept in the run's checkpoints and beside its final model."""
    change: Change | None = None
    """Made by this start, and the last one of the record."""
    finished: Finished | None = None
    """Of a run that is complete: there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Present:
    """The run that is to be started."""

    record: RunRecord
    num_steps: int
    accepts: AcceptCheckpoint
    resume_from: str | None
    """`--resume_from_checkpoint`."""
    defaults: Mapping[str, JsonValue]


def start_of(output_dir: Path, present: Present) -> Start:
    """Returns the start that the directory's content allows. Raises TrainingError when it holds
    another run, unless that is accepted."""
    checkpoint = newest_complete_checkpoint(output_dir)
    _refuse_missing_checkpoint(output_dir, checkpoint, present.resume_from)
    if checkpoint is None and not holds_model(output_dir):
        return Start(None, present.record)
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
        return Start(checkpoint, record, finished=of_model.finished)
    if checkpoint is not None and differences:
        return _go_on(checkpoint, found, differences, present)
    return Start(checkpoint, record)


def holds_model(output_dir: Path) -> bool:
    """Returns True when a finished model lies there, beside the checkpoints."""
    return any((output_dir / name).is_file() for name in _WEIGHTS)


def _record_of_model(output_dir: Path, *, has_checkpoint: bool) -> RunRecord | None:
    """Reads the record of the finished model. With a checkpoint the model can be written again, so
    that a damaged record counts as none."""
    if not holds_model(output_dir):
        return None
    try:
        return read_record(output_dir)
    except TrainingError as error:
        if not has_checkpoint:
            raise
        logger.warning("resume: the final model is written again, its record is damaged: %s", error)
        return None


def _accepts(differences: tuple[Difference, ...], present: Present) -> bool:
    """Returns True for an equal run. A job of the service also accepts what an upgrade changed:
    its owner can neither undo that nor choose another output_dir."""
    names = {each.name for each in differences}
    return not names or (present.accepts == "unrecorded" and names <= OF_VERSION)


def _go_on(
    checkpoint: Path, found: RunRecord, differences: tuple[Difference, ...], present: Present
) -> Start:
    change = Change(step=step_of(checkpoint), differences=differences)
    changes = (*found.changes, change)
    return Start(checkpoint, present.record.model_copy(update={"changes": changes}), change)


def _start_unrecorded(output_dir: Path, checkpoint: Path | None, present: Present) -> Start:
    if checkpoint is None:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"output_dir {output_dir} holds a finished model without a record of its run (by an"
            f" older version, or not by flant5), and {_START_FROM_MODEL}",
            param="output_dir",
        )
    if present.accepts == "same":
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"output_dir {output_dir} holds {checkpoint.name} without a record of its run (by an"
            " older version, or not by flant5), so that nothing can be compared with this run;"
            " expected another output_dir, or an empty one. To use it all the same, add"
            " --accept_checkpoint unrecorded",
            param="output_dir",
        )
    logger.warning("resume: %s has no record of its run; nothing is compared", checkpoint.name)
    return Start(checkpoint, present.record)


def _start_changed(
    place: Path, found: RunRecord, differences: tuple[Difference, ...], present: Present
) -> Start:
    """`place` is a checkpoint, or the output_dir with a finished model."""
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
            " expected equal values, to go on with that run. For a new run choose another"
            " output_dir, or remove this one. To go on from it all the same, add"
            " --accept_checkpoint changed: the model is then that of neither run, and pairs of the"
            " epoch that was begun may be trained on twice or not at all",
            param="output_dir",
        )
    if fixed := [each for each in differences if each.name in _FIXED]:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"{place} is of another run, whose weights and optimizer this run can't go on with:"
            f" {', '.join(map(str, fixed))}; expected another output_dir. To start from those"
            " weights, give the directory as model_name_or_path",
            param="output_dir",
        )
    if (step := step_of(place)) >= present.num_steps:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"{place} of another run ({what}) is at step {step}, and this run has"
            f" {present.num_steps} steps, so that nothing is left to train; expected more max_steps"
            " or num_train_epochs, or another output_dir",
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
        f"resume_from_checkpoint is {asked!r}, but a run goes on from the newest complete"
        f" checkpoint of its output_dir ({output_dir}, {newest}); expected that one, or no such"
        " argument. For a new run from the weights of another checkpoint give its directory as"
        " model_name_or_path",
        param="resume_from_checkpoint",
    )
