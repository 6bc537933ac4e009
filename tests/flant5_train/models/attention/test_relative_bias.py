import pytest
import torch

from flant5_train.models.attention.segments import relative_bias
from tests.flant5_train.models.attention.models import model


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_the_table_says_what_the_library_writes_out(side: str) -> None:
    stack = getattr(model(), side)
    bias = relative_bias(stack)
    theirs = stack.block[0].layer[0].SelfAttention.compute_bias(400, 400)[0]
    assert torch.equal(bias.matrix_HLL(400), theirs)
    distance = torch.arange(400)[None, :] - torch.arange(400)[:, None]
    table = bias.table_HR()
    assert torch.equal(table[:, distance.clamp(-bias.reach, bias.reach) + bias.reach], theirs)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_each_distance_lies_in_the_range_of_its_bucket_alone(side: str) -> None:
    stack = getattr(model(), side)
    ranges = relative_bias(stack).distances_B2()
    distance = torch.arange(-5000, 5001)
    buckets = (
        stack.block[0]
        .layer[0]
        .SelfAttention._relative_position_bucket(distance, bidirectional=side == "encoder")
    )
    inside = (distance[:, None] >= ranges[:, 0]) & (distance[:, None] <= ranges[:, 1])
    assert torch.equal(inside, torch.nn.functional.one_hot(buckets, len(ranges)).bool())
