"""Sizes of checkpoints: shapes of a Flan-T5's weights, optimizer state, and other files.

Neither torch nor numpy is imported here: planning a run must not need them.
"""

from collections.abc import Iterable, Sequence
from math import prod

from flant5_train.estimates.flops import ModelShape

Shape = Sequence[int]

_FLOAT32_BYTES = 4
_POSITION_BUCKETS = 32
"""Buckets of a Flan-T5's relative position bias."""
_ROW_MULTIPLE = 64
"""Embedding rows are padded to a multiple of this, for fast matrix units."""


def embedding_rows(num_tokens: int) -> int:
    """Returns the rows of the embedding and of the output layer for a number of tokens.

    >>> embedding_rows(32369)
    32384
    """
    return -(-num_tokens // _ROW_MULTIPLE) * _ROW_MULTIPLE


def weight_shapes(shape: ModelShape) -> list[tuple[int, ...]]:
    """Returns the shapes of all weights of a model."""
    num_norms = 2 * shape.num_layers + 3 * shape.num_decoder_layers + 2
    return [
        *[(shape.vocab_size, shape.d_model)] * 2,
        *layer_matrices(shape),
        *[(shape.d_model,)] * num_norms,
        *[(_POSITION_BUCKETS, shape.num_heads)] * 2,
    ]


def layer_matrices(shape: ModelShape) -> list[tuple[int, int]]:
    """Returns rows and columns of the matrices of all layers, encoder first."""
    projections = [(shape.d_model, shape.attention_width)] * 4
    feed_forward = [(shape.d_model, shape.d_ff)] * 3
    encoder = (projections + feed_forward) * shape.num_layers
    return encoder + (2 * projections + feed_forward) * shape.num_decoder_layers


def low_rank_shapes(shape: ModelShape, *, rank: int) -> list[tuple[int, int]]:
    """Returns the shapes of the low-rank adapters, two thin matrices per layer matrix."""
    return [
        thin for rows, columns in layer_matrices(shape) for thin in ((rank, rows), (columns, rank))
    ]


def num_numbers(shapes: Iterable[Shape]) -> int:
    return sum(prod(shape) for shape in shapes)


def optimizer_state_bytes(shapes: Iterable[Shape], optimizer: str) -> int:
    """Returns the bytes of optimizer state for trained weights of these shapes.

    Most optimizers keep two moments per weight in float32, or in one byte each with "8bit" in the
    name. Adafactor keeps the sums of rows and columns of a matrix.
    """
    if "adafactor" in optimizer:
        return sum(_factored_bytes(shape) for shape in shapes)
    bytes_per_moment = 1 if "8bit" in optimizer else _FLOAT32_BYTES
    return 2 * bytes_per_moment * num_numbers(shapes)


def _factored_bytes(shape: Shape) -> int:
    numbers = prod(shape)
    if len(shape) < 2:
        return _FLOAT32_BYTES * numbers
    *_, rows, columns = shape
    return _FLOAT32_BYTES * (numbers // columns + numbers // rows)


_FIXED_BYTES = 256 * 1024
"""Configuration, scheduler, random states, trainer state."""
_BYTES_PER_PIECE = 128
"""`tokenizer.json` and `spiece.model` together, for each piece of the vocabulary."""
_BYTES_PER_LOG = 192
"""Bytes per log entry in `trainer_state.json`."""


def metadata_bytes(vocab_size: int, *, num_logs: int) -> int:
    """Returns an upper bound; `trainer_state.json` contains `num_logs` entries."""
    return _FIXED_BYTES + _BYTES_PER_PIECE * vocab_size + _BYTES_PER_LOG * num_logs
