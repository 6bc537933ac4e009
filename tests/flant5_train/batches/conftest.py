"""Lengths of pairs, drawn and real, and the settings of plans."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flant5_train.batches.dealing import StepShape
from flant5_train.batches.lengths import PairLengths
from flant5_train.batches.run_plan import PlanSettings
from tests.flant5_train.conftest import SHARED

REAL_LENGTHS = SHARED / "data" / "pair_lengths.npz"
LIMIT = 2048


def drawn_lengths(num_pairs: int, *, seed: int = 0) -> PairLengths:
    """Like those of shared chats: a few long answers, histories that grow from turn to turn until
    the limit cuts them."""
    rng = np.random.default_rng(seed)
    turns = rng.geometric(0.27, num_pairs)
    history = [rng.lognormal(5.2, 1.0, count).sum() for count in turns - 1]
    source = np.array(history) + rng.lognormal(3.7, 1.3, num_pairs) + 40
    target = rng.lognormal(5.6, 0.9, num_pairs) + 2
    return PairLengths(
        np.minimum(source, LIMIT).astype(np.int64), np.minimum(target, LIMIT).astype(np.int64)
    )


@pytest.fixture(scope="session")
def real_lengths() -> PairLengths:
    if not REAL_LENGTHS.exists():
        pytest.skip(f"{REAL_LENGTHS} is not here")
    with np.load(REAL_LENGTHS) as found:
        source, target = found["source_lossless"], found["target_lossless"]
    return PairLengths(
        np.minimum(source, LIMIT).astype(np.int64), np.minimum(target, LIMIT).astype(np.int64)
    )


def settings(**changes: Any) -> PlanSettings:
    usual = PlanSettings(
        batching="padded",
        num_pairs=8,
        shape=StepShape(num_processes=2, num_passes=2),
        num_epochs=3,
        max_steps=-1,
        seed=42,
    )
    return replace(usual, **changes)
