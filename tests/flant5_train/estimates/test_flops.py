from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5ForConditionalGeneration

from flant5_train.demo_model import small_config
from flant5_train.estimates.flops import FlopCounts, ModelShape, training_flops

SIZES = {
    "d_model": 32,
    "d_kv": 16,
    "num_heads": 3,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "vocab_size": 64,
}
SHAPE = ModelShape(**SIZES)
XL = ModelShape(2048, 64, 32, 5120, 24, 24, 32128)


def counted_by_torch(batch: int, source: int, target: int) -> int:
    config: Any = small_config(**SIZES)
    config._attn_implementation = "eager"
    model = T5ForConditionalGeneration(config)
    counter = FlopCounterMode(display=False)
    with counter:
        model(
            input_ids=torch.ones(batch, source, dtype=torch.int64),
            decoder_input_ids=torch.ones(batch, target, dtype=torch.int64),
        ).logits.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("batch", "source", "target"), [(1, 7, 5), (3, 12, 4), (2, 6, 20)])
def test_the_formula_counts_what_torch_counts(batch: int, source: int, target: int) -> None:
    work = FlopCounts.of([source] * batch, [target] * batch)
    # Eager attention computes the masked half of the decoder's square as well; we don't count it.
    masked = 3 * batch * SHAPE.num_decoder_layers * 2 * target**2 * SHAPE.attention_width
    assert training_flops(SHAPE, work) + masked == counted_by_torch(batch, source, target)


def test_a_pair_of_average_length_costs_what_the_design_says_at_xl() -> None:
    assert training_flops(XL, FlopCounts.of([968], [339])) == pytest.approx(11.57e12, rel=0.001)


def test_narrow_integers_of_an_array_do_not_overflow() -> None:
    lengths = np.full(3, 65535, dtype=np.uint16)
    assert FlopCounts.of(lengths, lengths) == FlopCounts.of([65535] * 3, [65535] * 3)


def test_works_add_up_like_their_pairs() -> None:
    assert FlopCounts.of([3], [2]) + FlopCounts.of([5], [4]) == FlopCounts.of([3, 5], [2, 4])


def test_lengths_of_unequal_count_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        FlopCounts.of([1, 2], [1])


def test_a_shape_is_read_from_a_configuration() -> None:
    assert ModelShape.of(small_config(**SIZES)) == SHAPE
