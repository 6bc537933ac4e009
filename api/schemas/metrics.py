"""The loss curve, as callers see it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Column = tuple[float | None, ...]


class Metrics(BaseModel):
    """The numbers of a run in columns: row i of `loss` belongs to row i of `step`, row i of
    `eval_loss` to row i of `eval_step`. A number that was not finite is null."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["fine_tuning.job.metrics"] = "fine_tuning.job.metrics"
    step: tuple[int, ...]
    epoch: Column
    loss: Column
    """Mean negative log-likelihood per target token."""
    learning_rate: Column
    grad_norm: Column
    tokens_seen: tuple[int, ...]
    """Source and target tokens, padding not counted."""
    tokens_per_second: Column
    source_fill: Column
    """Share of the encoder's places in batches that held a token; the rest was padding."""
    target_fill: Column
    tflops: Column
    """10^12 floating-point operations of the model per second, over all processes."""
    mfu: Column
    """`tflops` as a share of the GPUs' bfloat16 peak; null where the peak is not known."""
    gpu_memory_bytes: Column
    eval_step: tuple[int, ...]
    eval_loss: Column
    eval_perplexity: Column
    eval_token_accuracy: Column
    eval_exact_match: Column
    """Of the answers to a sample of the validation questions; null when none were asked."""
    eval_rouge_l: Column
    num_malformed_lines: int
    """Lines of `progress.jsonl` that could not be read, and are left out here."""
