"""The result file of a successful job: its step metrics as CSV, a row per step.

    step,epoch,train_loss,learning_rate,grad_norm,tokens_seen,tokens_per_second,valid_loss,...
    1,0.1,2.5,0.0001,1.25,640,5120.0,,

It is an ordinary file with the purpose `fine-tune-results`. Its id is derived from the job, so it
need not be stored.
"""

import csv
import io
import math
from collections.abc import Iterator

from worker.jobs.curve import Curve, read_steps
from worker.jobs.job import Job
from worker.jobs.storage.files import FILE_IDS, FileStore, NewFile
from worker.jobs.storage.job_record import JobRecord
from worker.jobs.storage.paths import Home

PURPOSE = "fine-tune-results"
FILENAME = "step_metrics.csv"

_MAX_BYTES = 2**32
_TRAINED = {
    "epoch": "epoch",
    "loss": "train_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "tokens_seen": "tokens_seen",
    "tokens_per_second": "tokens_per_second",
    "source_fill": "source_fill",
    "target_fill": "target_fill",
    "tflops": "tflops",
    "mfu": "mfu",
}
"""Fields of a step's record -> column names, which match those of the SDK's checkpoints."""
_EVALUATED = {
    "eval_loss": "valid_loss",
    "eval_token_accuracy": "valid_mean_token_accuracy",
    "eval_perplexity": "valid_perplexity",
    "eval_exact_match": "valid_exact_match",
    "eval_rouge_l": "valid_rouge_l",
}


def result_file_id(job: Job | JobRecord) -> str:
    """Returns the id of a job's result file, which need not exist."""
    return FILE_IDS.of(job.id, at_seconds=job.created_at)


def keep_result_file(job: Job, home: Home) -> None:
    """Writes the file, and replaces one of an earlier try. Raises StorageFullError, OSError."""
    files = FileStore(home, None)
    new = NewFile(id=result_file_id(job), filename=FILENAME, purpose=PURPOSE, owner=job.owner)
    curve = read_steps(home.run_directory(job.id).progress)
    files.clear(new.id)
    files.write(new, chunks=_rows(curve), max_bytes=_MAX_BYTES)


def _rows(curve: Curve) -> Iterator[bytes]:
    yield _row(["step", *_TRAINED.values(), *_EVALUATED.values()])
    for step in sorted(curve.steps.keys() | curve.evaluations.keys()):
        trained, evaluated = curve.steps.get(step), curve.evaluations.get(step)
        numbers = [getattr(trained, name, None) for name in _TRAINED]
        numbers += [getattr(evaluated, name, None) for name in _EVALUATED]
        yield _row([step, *numbers])


def _row(cells: list[object]) -> bytes:
    """Encodes a row; missing and non-finite numbers are empty cells."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(
        "" if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in cells
    )
    return text.getvalue().encode()
