"""Pairs of a run from the scans of its files: split and truncated as in the run."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flant5_train.config import Hyperparameters
from flant5_train.data.pairs import PairLengths
from flant5_train.file_report.checks import num_beyond_limit
from flant5_train.forecast.data import Survey
from flant5_train.protocol.forecast import MAX_TOLD, PairsForecast
from flant5_train.validation_split import split_by_conversation


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of source and target in tokens, beyond which a run truncates."""

    source: int
    target: int

    @classmethod
    def of(cls, hyperparameters: Hyperparameters) -> "Limits":
        both = hyperparameters.model_max_length
        beyond = num_beyond_limit(hyperparameters.tokenization)
        return cls(
            (hyperparameters.max_source_length or both) + beyond,
            (hyperparameters.max_target_length or both) + beyond,
        )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Some pairs of a file. Shapes: N pairs."""

    survey: Survey
    rows: NDArray[np.int64]
    """Numbers of the pairs in the file, [N]."""
    limits: Limits

    @property
    def lengths(self) -> PairLengths:
        """Lengths after truncation."""
        whole = self._whole
        return PairLengths(
            np.minimum(whole.source, self.limits.source),
            np.minimum(whole.target, self.limits.target),
        )

    def forecast(self) -> PairsForecast:
        report, whole, cut = self.survey.report, self._whole, self.lengths
        return PairsForecast(
            is_trainable=report.is_trainable,
            conversations=len(np.unique(self.survey.conversation[self.rows])),
            pairs=len(self.rows),
            source_tokens=int(cut.source.sum()),
            target_tokens=int(cut.target.sum()),
            longest_source=int(whole.source.max(initial=0)),
            longest_target=int(whole.target.max(initial=0)),
            truncated_sources=int((whole.source > cut.source).sum()),
            truncated_targets=int((whole.target > cut.target).sum()),
            source_tokens_lost=int((whole.source - cut.source).sum()),
            target_tokens_lost=int((whole.target - cut.target).sum()),
            repeats=report.repeats.num_repeats,
            left_out=report.left_out,
            num_problems=report.problems.num_problems,
            problems=tuple(map(str, report.problems.listed[:MAX_TOLD])),
        )

    @property
    def _whole(self) -> PairLengths:
        return self.survey.lengths.of(self.rows)


def all_pairs(survey: Survey, hyperparameters: Hyperparameters) -> Pairs:
    """Returns all pairs of a file."""
    rows = np.arange(len(survey.lengths), dtype=np.int64)
    return Pairs(survey, rows, Limits.of(hyperparameters))


def split_pairs(
    survey: Survey, hyperparameters: Hyperparameters, *, seed: int
) -> tuple[Pairs, Pairs]:
    """Returns the training pairs, and the validation pairs held back by `validation_split`. Raises
    DataError if there are too few conversations."""
    share = hyperparameters.validation_split
    split = split_by_conversation(survey.conversation, share=share, seed=seed)
    limits = Limits.of(hyperparameters)
    return Pairs(survey, split.train, limits), Pairs(survey, split.validation, limits)
