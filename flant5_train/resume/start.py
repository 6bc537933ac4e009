"""Where a run starts: from nothing, from a checkpoint of its output_dir, or not at all."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from flant5_train.checkpoints import newest_complete_checkpoint, step_of
from flant5_train.config import AcceptCheckpoint
from flant5_train.failure import FailureCode, TrainingError
from flant5_train.resume.record import Change, Difference, Finished, RunRecord, read_record

logger = logging.getLogger(__name__)

_FIXED = frozenset(
    {
        "base_model",
        "encoding",
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
_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no", "none", "")


@dataclass(frozen=True, slots=True)
class Start:
    """What a run begins with."""

    checkpoint: Path | None
    """To go on from; None: from the base model."""
    record: RunRecord
    """To be kept in the run's checkpoints and beside its final model."""
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
    """Raises TrainingError when the directory holds another run, unless that is accepted."""
    checkpoint = newest_complete_checkpoint(output_dir)
    _refuse_missing_checkpoint(output_dir, checkpoint, present.resume_from)
    model = output_dir if holds_model(output_dir) else None
    place = checkpoint or model
    if place is None:
        return Start(None, present.record)
    found = read_record(place)
    if found is None:
        return _start_unrecorded(output_dir, checkpoint, present)
    differences = found.differences_to(present.record, defaults=present.defaults)
    if differences:
        return _start_changed(place, found, differences, present)
    record = present.record.model_copy(update={"changes": found.changes})
    finished = read_record(output_dir) if model else None
    is_same = finished is not None and not finished.differences_to(
        present.record, defaults=present.defaults
    )
    return Start(checkpoint, record, finished.finished if finished and is_same else None)


def holds_model(output_dir: Path) -> bool:
    """Whether a finished model lies there, beside the checkpoints."""
    return any((output_dir / name).is_file() for name in _WEIGHTS)


def _start_unrecorded(output_dir: Path, checkpoint: Path | None, present: Present) -> Start:
    if present.accepts == "same":
        what = "a finished model" if checkpoint is None else checkpoint.name
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"output_dir {output_dir} holds {what} without a record of its run (by an older"
            " version, or not by flant5), so that nothing can be compared with this run; expected"
            " another output_dir, or an empty one. To use it all the same, add"
            " --accept_checkpoint unrecorded",
            param="output_dir",
        )
    if checkpoint is not None:
        logger.warning("resume: %s has no record of its run; nothing is compared", checkpoint.name)
    return Start(checkpoint, present.record)


def _start_changed(
    place: Path, found: RunRecord, differences: tuple[Difference, ...], present: Present
) -> Start:
    is_checkpoint = place.name.startswith("checkpoint-")
    step = step_of(place) if is_checkpoint else 0
    what = ", ".join(map(str, differences))
    if present.accepts != "changed":
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"output_dir {place.parent if is_checkpoint else place} holds"
            f" {place.name if is_checkpoint else 'the finished model'} of another run: {what};"
            " expected equal values, to go on with that run. For a new run choose another"
            " output_dir, or remove this one. To go on from it all the same, add"
            " --accept_checkpoint changed: the model is then that of neither run, and pairs of the"
            " epoch that was begun may be trained on twice or not at all",
            param="output_dir",
        )
    if not is_checkpoint:
        return Start(None, present.record)
    if fixed := [each for each in differences if each.name in _FIXED]:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"{place} is of another run, whose weights and optimizer this run can't go on with:"
            f" {', '.join(map(str, fixed))}; expected another output_dir. To start from those"
            " weights, give the directory as model_name_or_path",
            param="output_dir",
        )
    if step >= present.num_steps:
        raise TrainingError(
            FailureCode.BAD_CONFIG,
            f"{place} of another run ({what}) is at step {step}, and this run has"
            f" {present.num_steps} steps, so that nothing is left to train; expected more max_steps"
            " or num_train_epochs, or another output_dir",
            param="max_steps",
        )
    changes = (*found.changes, Change(step=step, differences=differences))
    return Start(place, present.record.model_copy(update={"changes": changes}))


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
