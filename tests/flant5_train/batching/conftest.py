"""The real lengths of pairs, and the settings of plans."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.pair_lengths import LENGTHS_FILE, pair_lengths
from flant5_train.batching.plan import PlanSettings
from flant5_train.batching.schedule import StepShape
from flant5_train.data.pairs import PairLengths


@pytest.fixture(scope="session")
def real_lengths() -> PairLengths:
    if not LENGTHS_FILE.exists():
        pytest.skip(f"{LENGTHS_FILE} is not here")
    return pair_lengths().lossless


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
