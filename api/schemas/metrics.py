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
    """Optimizer steps."""
    epoch: Column
    """Passes over the data, with fractions."""
    loss: Column
    """Mean negative log-likelihood per target token."""
    learning_rate: Column
    """Of the step."""
    grad_norm: Column
    """Norm of the gradient before it was clipped."""
    tokens_seen: tuple[int, ...]
    """Source and target tokens, padding not counted."""
    tokens_per_second: Column
    """Source and target tokens, padding not counted."""
    source_fill: Column
    """Share of the encoder's places in batches that held a token; the rest was padding."""
    target_fill: Column
    """The same of the decoder's places."""
    tflops: Column
    """10^12 floating-point operations of the model per second, over all processes."""
    mfu: Column
    """`tflops` as a share of the GPUs' bfloat16 peak; null where the peak is not known."""
    gpu_memory_bytes: Column
    """Most memory held on one GPU; null on a host without one."""
    eval_step: tuple[int, ...]
    """Optimizer steps before each evaluation."""
    eval_loss: Column
    """Mean negative log-likelihood per target token of the validation pairs."""
    eval_perplexity: Column
    """`e` to the power of `eval_loss`."""
    eval_token_accuracy: Column
    """Share of the target tokens that the model would have chosen, 0 to 1."""
    eval_exact_match: Column
    """Of the answers to a sample of the validation questions; null when none were asked."""
    eval_rouge_l: Column
    """Of the same answers."""
    num_malformed_lines: int
    """Lines of `progress.jsonl` that could not be read, and are left out here."""
