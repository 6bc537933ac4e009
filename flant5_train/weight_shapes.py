"""The shapes of a Flan-T5's weights, and what an optimizer keeps of weights of some shapes.

Neither torch nor numpy is imported here: whoever plans a run counts without them.
"""

from collections.abc import Iterable, Sequence
from math import prod

from flant5_train.flops import ModelShape

Shape = Sequence[int]

_FLOAT32_BYTES = 4
_POSITION_BUCKETS = 32
"""Of the relative position bias of a Flan-T5."""
_ROW_MULTIPLE = 64
"""Embedding rows are padded to a multiple of this, which matrix units are fast at."""


def embedding_rows(num_tokens: int) -> int:
    """Rows of the embedding and of the output layer for so many tokens.

    >>> embedding_rows(32369)
    32384
    """
    return -(-num_tokens // _ROW_MULTIPLE) * _ROW_MULTIPLE


def weight_shapes(shape: ModelShape) -> list[tuple[int, ...]]:
    """Of all weights of a model."""
    num_norms = 2 * shape.num_layers + 3 * shape.num_decoder_layers + 2
    return [
        *[(shape.vocab_size, shape.d_model)] * 2,
        *layer_matrices(shape),
        *[(shape.d_model,)] * num_norms,
        *[(_POSITION_BUCKETS, shape.num_heads)] * 2,
    ]


def layer_matrices(shape: ModelShape) -> list[tuple[int, int]]:
    """Rows and columns of the matrices of all layers, those of the encoder first."""
    projections = [(shape.d_model, shape.attention_width)] * 4
    feed_forward = [(shape.d_model, shape.d_ff)] * 3
    encoder = (projections + feed_forward) * shape.num_layers
    return encoder + (2 * projections + feed_forward) * shape.num_decoder_layers


def low_rank_shapes(shape: ModelShape, *, rank: int) -> list[tuple[int, int]]:
    """Of the additions to every matrix of the layers: two thin ones for each."""
    return [
        thin for rows, columns in layer_matrices(shape) for thin in ((rank, rows), (columns, rank))
    ]


def num_numbers(shapes: Iterable[Shape]) -> int:
    return sum(prod(shape) for shape in shapes)


def optimizer_state_bytes(shapes: Iterable[Shape], optimizer: str) -> int:
    """What an optimizer keeps of trained weights of these shapes: two moments of each number in
    float32 or, with "8bit" in its name, in a byte each; Adafactor the sums of rows and columns of a
    matrix."""
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
