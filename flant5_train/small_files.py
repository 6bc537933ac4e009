"""Size of a checkpoint's files other than the weights. No torch here."""

_FIXED_BYTES = 256 * 1024
"""Configuration, scheduler, random states, trainer state."""
_BYTES_PER_PIECE = 128
"""`tokenizer.json` and `spiece.model` together, for each piece of the vocabulary."""
_BYTES_PER_LOG = 192
"""Bytes per log entry in `trainer_state.json`."""


def small_files_bytes(vocab_size: int, *, num_logs: int) -> int:
    """Returns an upper bound; `trainer_state.json` contains `num_logs` entries."""
    return _FIXED_BYTES + _BYTES_PER_PIECE * vocab_size + _BYTES_PER_LOG * num_logs
