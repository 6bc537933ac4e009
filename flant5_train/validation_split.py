"""Split into training and validation pairs. No torch here: plans of runs use it too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flant5_train.data.errors import DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Rows for training and for validation, each in order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def split_by_conversation(
    conversation_of: NDArray[np.integer], *, share: float, seed: int
) -> Split:
    """Splits rows by their conversation numbers, [N].

    Pairs of one conversation stay together, because later questions contain earlier answers.
    Raises DataError if fewer than two conversations have pairs.
    """
    conversations = np.unique(conversation_of)
    if len(conversations) < 2:
        raise DataError(
            f"validation_split is {share}, but only {len(conversations)} conversation has pairs;"
            " expected at least 2"
        )
    count = min(max(1, round(len(conversations) * share)), len(conversations) - 1)
    held_back = np.random.default_rng(seed).permutation(conversations)[:count]
    is_validation = np.isin(conversation_of, held_back)
    return Split(np.flatnonzero(~is_validation), np.flatnonzero(is_validation))
