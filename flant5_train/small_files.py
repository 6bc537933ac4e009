"""What lies beside the weights in a checkpoint, and how large it is. No torch here."""

_FIXED_BYTES = 256 * 1024
"""Configuration, scheduler, random states, the state of the trainer."""
_BYTES_PER_PIECE = 128
"""`tokenizer.json` and `spiece.model` together, for each piece of the vocabulary."""
_BYTES_PER_LOG = 192
"""In `trainer_state.json`."""


def small_files_bytes(vocab_size: int, *, num_logs: int) -> int:
    """An upper bound; `num_logs` are kept in `trainer_state.json`."""
    return _FIXED_BYTES + _BYTES_PER_PIECE * vocab_size + _BYTES_PER_LOG * num_logs
