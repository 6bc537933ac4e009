"""What became of an attempt, judged by what it left in its run directory.

torchrun's exit code says nothing: it is 1 whatever the ranks exited with, even after a good
checkpoint on SIGTERM. What counts, in this order: the final record of `progress.jsonl`, our own
`error.json`, torchrun's error file, torchrun's summary in the log, the end of the log.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flant5_train.failure import Failure, FailureCode, read_failure
from flant5_train.progress import ModelSaved, Record, Stopped, parse_record
from worker.jobs.home import RunDirectory
from worker.jobs.job import Job, JobError, model_id
from worker.jobs.update import Failed, Succeeded
from worker.lines import whole_lines
from worker.trainer_log import parse_line

_TAIL_BYTES = 32_768
_NUM_TAIL_LINES = 5
_KILLED_RANK = re.compile(r"exitcode\s*:\s*-(\d+)")
_NOT_THE_JOBS_FAULT = {FailureCode.KILLED, FailureCode.WORKER_LOST}


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt ended without an outcome for the job; another one can go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """Where an attempt's part of the files begins, in bytes."""

    progress: int
    log: int

    @classmethod
    def of(cls, run_directory: RunDirectory) -> "Start":
        """Taken before the trainer starts; a cut last line counts as not written."""
        return cls(progress=_whole_size(run_directory.progress), log=_whole_size(run_directory.log))


def judge(job: Job, run_directory: RunDirectory, start: Start) -> Succeeded | Failed | Interrupted:
    """The outcome of the attempt that began at `start`; its processes are gone."""
    last = last_record(run_directory.progress, start.progress)
    if isinstance(last, ModelSaved):
        return Succeeded(model_id(job.id, job.spec))
    tail = _log_tail(run_directory.log, start.log)
    killed = _killed_rank(tail)
    failure = _read_failure(run_directory.failure)
    if failure is not None and not _is_consequence(failure, killed):
        return Failed(
            JobError(code=failure.code.value, message=failure.message, param=failure.param)
        )
    if isinstance(last, Stopped):
        return Interrupted(f"the trainer was told to stop, at step {last.step}")
    return Interrupted(
        killed or _torch_error(run_directory.torch_error) or _last_words(tail, failure)
    )


def last_record(path: Path, offset: int) -> Record | None:
    """The last record that is whole, at or after `offset`."""
    tail = max(offset, _whole_size(path) - _TAIL_BYTES)
    for line in reversed(whole_lines(path, tail)[0]):
        try:
            return parse_record(line)
        except ValidationError:
            continue  # reported by the pump
    return None


def _is_consequence(failure: Failure, killed: str | None) -> bool:
    """A rank that loses another one fails too (`Connection closed by peer`), and says so first."""
    if failure.code in _NOT_THE_JOBS_FAULT:
        return True
    return failure.code is FailureCode.INTERNAL and killed is not None


def _read_failure(path: Path) -> Failure | None:
    try:
        return read_failure(path)
    except ValidationError as error:
        return Failure(code=FailureCode.INTERNAL, message=f"{path.name} is malformed: {error}")


def _killed_rank(tail: list[str]) -> str | None:
    for line in tail:
        if found := _KILLED_RANK.search(line):
            return f"a training process was killed by signal {found[1]}"
    return None


def _torch_error(path: Path) -> str | None:
    """torchrun's file: {"message": {"message": "ValueError: ...", "extraInfo": {...}}}."""
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    message = content.get("message") if isinstance(content, dict) else None
    if isinstance(message, dict):
        message = message.get("message")
    return f"the trainer failed: {message}" if message else None


def _last_words(tail: list[str], failure: Failure | None) -> str:
    if failure is not None:
        return failure.message
    if not tail:
        return "the trainer ended without a word"
    return "the trainer ended unexpectedly; its last lines: " + " | ".join(tail[-_NUM_TAIL_LINES:])


def _log_tail(path: Path, start: int) -> list[str]:
    size = _whole_size(path)
    lines, _ = whole_lines(path, max(start, size - _TAIL_BYTES))
    return [text for _, _, text in map(parse_line, lines)]


def _whole_size(path: Path) -> int:
    """The size up to and with the last line end."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            while size > 0:
                begin = max(0, size - _TAIL_BYTES)
                file.seek(begin)
                end = file.read(size - begin).rfind(b"\n")
                if end >= 0:
                    return begin + end + 1
                size = begin
    except FileNotFoundError:
        return 0
    return 0
