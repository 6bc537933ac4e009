"""On a GPU: what `make test` can't see on machines without one."""

import pytest
import torch

from flant5_train.data.collator import PackedCollator
from tests.flant5_train.models.attention.models import (
    gradients,
    largest_difference,
    model,
    pairs,
    relative_difference,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

# Pairs shorter than a block, longer than several, and ends on and off the blocks' edges.
LENGTHS = [(300, 40), (7, 129), (513, 2), (128, 256), (90, 77)]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("bias_is_trained", [True, False], ids=["", "constant bias"])
def test_the_gpu_has_the_loss_and_gradients_of_the_processor(
    compiled: bool, bias_is_trained: bool
) -> None:
    batch = PackedCollator(0, 1152, 640)(pairs(LENGTHS))
    exact = model(dtype=torch.float64, d_kv=64)
    on_gpu = model(d_kv=64).cuda()
    for flan in (exact, on_gpu):
        for name, weight in flan.named_parameters():
            weight.requires_grad_(bias_is_trained or "relative_attention_bias" not in name)
    if compiled:
        on_gpu.compile_blocks()
    theirs = exact(**batch).loss
    their_gradients = gradients(exact, theirs)
    ours = on_gpu(**{name: row.cuda() for name, row in batch.items()}).loss
    assert relative_difference(ours, theirs) < 1e-5
    assert largest_difference(gradients(on_gpu, ours), their_gradients) < 1e-4


def test_gradients_are_the_same_to_the_bit_in_every_run() -> None:
    batch = {name: row.cuda() for name, row in PackedCollator(0, 1152, 640)(pairs(LENGTHS)).items()}
    flan = model(d_kv=64).cuda()
    first = gradients(flan, flan(**batch).loss)
    for _ in range(3):
        again = gradients(flan, flan(**batch).loss)
        assert all(torch.equal(first[name], again[name]) for name in first)


def test_under_bfloat16_the_loss_is_near() -> None:
    batch = {name: row.cuda() for name, row in PackedCollator(0, 1152, 640)(pairs(LENGTHS)).items()}
    flan = model(d_kv=64).cuda()
    exact = flan(**batch).loss
    with torch.autocast("cuda", torch.bfloat16):
        rough = flan(**batch).loss
    assert relative_difference(rough, exact) < 1e-2
