"""Schema of the loss curve."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Column = tuple[float | None, ...]


class Metrics(BaseModel):
    """Metrics of a run in columns. Row i of `loss` belongs to row i of `step`, row i of `eval_loss`
    to row i of `eval_step`. NaN and infinity are null."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["fine_tuning.job.metrics"] = "fine_tuning.job.metrics"
    step: tuple[int, ...]
    """Optimizer steps."""
    epoch: Column
    """Epochs, with fractions."""
    loss: Column
    """Mean negative log-likelihood per target token."""
    learning_rate: Column
    """Learning rate of the step."""
    grad_norm: Column
    """Gradient norm before clipping."""
    tokens_seen: tuple[int, ...]
    """Source and target tokens, excluding padding."""
    tokens_per_second: Column
    """Source and target tokens, excluding padding."""
    source_fill: Column
    """Share of the encoder positions in batches that held a token. The rest was padding."""
    target_fill: Column
    """Share of the decoder positions in batches that held a token."""
    tflops: Column
    """10^12 floating-point operations of the model per second, over all processes."""
    mfu: Column
    """`tflops` as a share of the GPUs' bfloat16 peak; null if the peak is unknown."""
    gpu_memory_bytes: Column
    """Peak memory on any one GPU; null on a host without GPUs."""
    eval_step: tuple[int, ...]
    """Optimizer steps at each evaluation."""
    eval_loss: Column
    """Mean negative log-likelihood per target token on the validation pairs."""
    eval_perplexity: Column
    """`e` to the power of `eval_loss`."""
    eval_token_accuracy: Column
    """Share of the target tokens that the model predicts correctly, 0 to 1."""
    eval_exact_match: Column
    """Exact match of the answers to sampled validation questions; null without samples."""
    eval_rouge_l: Column
    """ROUGE-L of the same answers."""
    num_malformed_lines: int
    """Unreadable lines of `progress.jsonl`, which are omitted here."""
