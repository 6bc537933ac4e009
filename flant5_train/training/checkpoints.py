"""Checkpoints on disk: listing, completion marker, and removal.

    <output_dir>/checkpoint-<step>/...           files of the Trainer
    <output_dir>/checkpoint-<step>/COMPLETE      written last, after every process has saved

`transformers.trainer_utils.get_last_checkpoint` returns the highest number, complete or not
(huggingface/transformers#35782).
"""

import os
import re
import shutil
from pathlib import Path

MARKER = "COMPLETE"
_NAME = re.compile(r"checkpoint-(\d+)")


def step_of(checkpoint: Path) -> int:
    """Returns the optimizer step at which a checkpoint was saved."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match, f"{checkpoint} is not a checkpoint directory"
    return int(match[1])


def complete_checkpoints(output_dir: Path) -> list[Path]:
    """Returns the complete checkpoints, oldest first."""
    found = _all_checkpoints(output_dir)
    return sorted((path for path in found if (path / MARKER).exists()), key=step_of)


def newest_complete_checkpoint(output_dir: Path) -> Path | None:
    """Returns the checkpoint to resume from, or None."""
    return next(reversed(complete_checkpoints(output_dir)), None)


def mark_complete(checkpoint: Path) -> None:
    """Syncs all files of a checkpoint to disk, then marks it complete."""
    for path in [*checkpoint.rglob("*"), checkpoint]:
        _sync(path)
    (checkpoint / MARKER).touch()
    _sync(checkpoint / MARKER)
    _sync(checkpoint)


def remove_old_checkpoints(output_dir: Path, *, keep: int, best: Path | None = None) -> None:
    """Deletes complete checkpoints except `best` and the newest `keep`; also older partial ones."""
    complete = complete_checkpoints(output_dir)
    if not complete:
        return
    kept = {best, *complete[-keep:]}
    newest = step_of(complete[-1])
    for path in _all_checkpoints(output_dir):
        if path not in kept and step_of(path) < newest:
            remove_checkpoint(path)


def remove_incomplete_checkpoints(output_dir: Path) -> None:
    """Deletes partial checkpoints of earlier runs. No process may be saving meanwhile."""
    for path in _all_checkpoints(output_dir):
        if not (path / MARKER).exists():
            remove_checkpoint(path)


def remove_checkpoint(checkpoint: Path) -> None:
    """Deletes a checkpoint, complete or partial."""
    # The marker goes first: a half-deleted checkpoint must not look complete.
    (checkpoint / MARKER).unlink(missing_ok=True)
    if checkpoint.exists():
        shutil.rmtree(checkpoint)


def _all_checkpoints(output_dir: Path) -> list[Path]:
    return [path for path in output_dir.glob("checkpoint-*") if _NAME.fullmatch(path.name)]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
