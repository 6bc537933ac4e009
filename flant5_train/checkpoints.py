"""Checkpoints on disk: which are complete, which is the newest, which may go.

    <output_dir>/checkpoint-<step>/...           what the Trainer saves
    <output_dir>/checkpoint-<step>/COMPLETE      written last, when every process has saved its part

`transformers.trainer_utils.get_last_checkpoint` takes the highest number, complete or not
(huggingface/transformers#35782).
"""

import os
import re
import shutil
from pathlib import Path

MARKER = "COMPLETE"
_NAME = re.compile(r"checkpoint-(\d+)")


def step_of(checkpoint: Path) -> int:
    """The optimizer step at which a checkpoint was saved."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match, f"{checkpoint} is not a checkpoint directory"
    return int(match[1])


def complete_checkpoints(output_dir: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = _all_checkpoints(output_dir)
    return sorted((path for path in found if (path / MARKER).exists()), key=step_of)


def newest_complete_checkpoint(output_dir: Path) -> Path | None:
    """Where to go on; None when there is nothing to go on from."""
    return next(reversed(complete_checkpoints(output_dir)), None)


def mark_complete(checkpoint: Path) -> None:
    """Declare a checkpoint complete, after all its data has reached the disk."""
    for path in [*checkpoint.rglob("*"), checkpoint]:
        _sync(path)
    (checkpoint / MARKER).touch()
    _sync(checkpoint / MARKER)
    _sync(checkpoint)


def remove_old_checkpoints(output_dir: Path, *, keep: int, best: Path | None = None) -> None:
    """Delete all complete checkpoints but the newest `keep` and the `best`, and incomplete ones
    from before."""
    complete = complete_checkpoints(output_dir)
    if not complete:
        return
    kept = {best, *complete[-keep:]}
    newest = step_of(complete[-1])
    for path in _all_checkpoints(output_dir):
        if path not in kept and step_of(path) < newest:
            remove_checkpoint(path)


def remove_incomplete_checkpoints(output_dir: Path) -> None:
    """Delete what earlier runs left behind while they saved; no process may be saving now."""
    for path in _all_checkpoints(output_dir):
        if not (path / MARKER).exists():
            remove_checkpoint(path)


def remove_checkpoint(checkpoint: Path) -> None:
    """Delete a checkpoint, or what there is of it."""
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
