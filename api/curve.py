"""Loss curve of a job as columns, read from `progress.jsonl`."""

import math
from collections.abc import Iterable
from pathlib import Path

from api.schemas.metrics import Metrics
from flant5_train.protocol.progress import Evaluated, StepTrained
from worker.jobs.curve import read_steps

_TRAIN = (
    *("step", "epoch", "loss", "learning_rate", "grad_norm", "tokens_seen", "tokens_per_second"),
    *("source_fill", "target_fill", "tflops", "mfu", "gpu_memory_bytes"),
)
_EVALUATION = (
    "eval_loss",
    "eval_perplexity",
    "eval_token_accuracy",
    "eval_exact_match",
    "eval_rouge_l",
)


def read_curve(path: Path) -> Metrics:
    """Returns the curve so far. The columns are empty if the run has written no steps."""
    curve = read_steps(path)
    train = {name: _column(curve.steps.values(), name) for name in _TRAIN}
    evaluation = {name: _column(curve.evaluations.values(), name) for name in _EVALUATION}
    evaluation["eval_step"] = _column(curve.evaluations.values(), "step")
    return Metrics.model_validate(
        {**train, **evaluation, "num_malformed_lines": curve.num_malformed_lines}
    )


def _column(records: Iterable[StepTrained | Evaluated], name: str) -> tuple[float | None, ...]:
    values = (getattr(record, name) for record in records)
    # JSON can't represent NaN and infinity.
    return tuple(value if value is not None and math.isfinite(value) else None for value in values)
