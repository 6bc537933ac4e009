"""Names of a run's curves, and the points that a record adds to them."""

from collections.abc import Mapping

from flant5_train.protocol.progress import Evaluated, StepTrained


def curves(record: StepTrained | Evaluated) -> Mapping[str, float]:
    """Returns the values of a record by curve name.

    Evaluated(eval_loss=0.5, ...) -> {"eval/loss": 0.5, "eval/token_accuracy": 0.8}
    """
    if isinstance(record, Evaluated):
        evaluated = {
            "eval/loss": record.eval_loss,
            "eval/perplexity": record.eval_perplexity,
            "eval/token_accuracy": record.eval_token_accuracy,
            "eval/exact_match": record.eval_exact_match,
            "eval/rouge_l": record.eval_rouge_l,
        }
        return {name: value for name, value in evaluated.items() if value is not None}
    points = {
        "train/loss": record.loss,
        "train/learning_rate": record.learning_rate,
        "train/tokens_per_second": record.tokens_per_second,
    }
    for name in ("grad_norm", "source_fill", "target_fill", "tflops", "mfu", "gpu_memory_bytes"):
        value = getattr(record, name)
        if value is not None:
            points[f"train/{name}"] = value
    return points
