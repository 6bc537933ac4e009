"""Torch data set of training and validation pairs over memory-mapped ids, and its report.

The report counts the pairs, the cut pairs and the left-out turns.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from flant5_train.arguments import DataArguments
from flant5_train.data.cache import DataCache, EncodedFile, ignore_progress
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.encoding import Lengths, PairSpan, TextEncoder, encoder_for
from flant5_train.data.pairs import PairLengths, split_by_conversation
from flant5_train.models.tokenizer import AnyTokenizer
from flant5_train.protocol.progress import FileEncoding


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of lengths in tokens before cutting, including EOS."""

    p50: int
    p90: int
    p99: int
    max: int

    @classmethod
    def of(cls, lengths: NDArray[np.integer]) -> "Percentiles":
        p50, p90, p99 = np.percentile(lengths, [50, 90, 99], method="higher").astype(int).tolist()
        return cls(p50, p90, p99, int(lengths.max()))


@dataclass(frozen=True, slots=True)
class DataReport:
    """Counts of one data set.

    `left_out` counts turns and records without a pair by reason. `warnings` counts likely mistakes
    by kind, such as fields without effect.
    """

    conversations: int
    pairs: int
    source_tokens: int
    """Tokens that the encoder reads in one epoch, after cutting."""
    target_tokens: int
    """Tokens that the decoder learns in one epoch, after cutting."""
    truncated_sources: int
    truncated_targets: int
    source_lengths: Percentiles
    target_lengths: Percentiles
    left_out: Mapping[str, int]
    warnings: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def report_of(
    sources: NDArray[np.integer],
    targets: NDArray[np.integer],
    *,
    lengths: Lengths,
    num_conversations: int,
    left_out: Mapping[str, int],
    warnings: Mapping[str, int],
) -> DataReport:
    """Returns the report of pairs with these lengths before cutting, each [N], N at least 1."""
    return DataReport(
        conversations=num_conversations,
        pairs=len(sources),
        source_tokens=int(np.minimum(sources, lengths.max_source).sum()),
        target_tokens=int(np.minimum(targets, lengths.max_target).sum()),
        truncated_sources=int((sources > lengths.max_source).sum()),
        truncated_targets=int((targets > lengths.max_target).sum()),
        source_lengths=Percentiles.of(sources),
        target_lengths=Percentiles.of(targets),
        left_out=dict(left_out),
        warnings=dict(warnings),
    )


class SupervisedDataset(Dataset[dict[str, torch.Tensor]]):
    """Pairs cut to length: `input_ids` [S] and `labels` [T], both int64, EOS last.

    Pairs are copied on access only, so a data set takes no memory per process.
    """

    def __init__(
        self,
        encoded: EncodedFile,
        encoder: TextEncoder,
        lengths: Lengths,
        *,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self._encoded = encoded
        self._encoder = encoder
        self._lengths = lengths
        self._rows = np.arange(encoded.manifest.num_pairs) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        span = PairSpan(*self._encoded.spans[self._rows[index], :4].tolist())
        example = self._encoder.cut(self._encoded.tokens, span, self._lengths)
        return {
            "input_ids": torch.from_numpy(example.source.astype(np.int64)),
            "labels": torch.from_numpy(example.target.astype(np.int64)),
        }

    def lengths(self) -> PairLengths:
        """Returns the lengths of all pairs, as `__getitem__` returns them."""
        whole = self._whole_lengths()
        longest = self._encoder.longest(self._lengths)
        return PairLengths(
            np.minimum(whole.source, longest.max_source),
            np.minimum(whole.target, longest.max_target),
        )

    def report(self) -> DataReport:
        """Returns the data report. Its `left_out` and `warnings` are those of the whole file."""
        whole = self._whole_lengths()
        return report_of(
            whole.source,
            whole.target,
            lengths=self._encoder.longest(self._lengths),
            num_conversations=len(np.unique(self._encoded.spans[self._rows, 4])),
            left_out=self._encoded.manifest.left_out,
            warnings=self._encoded.manifest.warnings,
        )

    def _whole_lengths(self) -> PairLengths:
        """Returns the lengths before cutting."""
        start, header_end, answer_start, answer_end, _ = self._encoded.spans[self._rows].T
        end = self._encoder.num_end_tokens(header_end == answer_start)
        return PairLengths(answer_start - start + end, answer_end - answer_start + 1)


class DataModule(TypedDict):
    """Data arguments of the Trainer."""

    train_dataset: SupervisedDataset
    eval_dataset: SupervisedDataset | None
    data_collator: DataCollatorForSupervisedDataset


def make_supervised_data_module(
    tokenizer: AnyTokenizer,
    data_args: DataArguments,
    *,
    builds: bool = True,
    seed: int = 42,
    report: Callable[[FileEncoding], object] = ignore_progress,
) -> DataModule:
    """Returns the data sets and the collator of a run.

    The process with `builds` encodes the files and reports its progress; the others wait for it.
    Raises DataError for unusable files.
    """
    encoder = encoder_for(tokenizer)
    assert data_args.cache_directory is not None, "parse_arguments fills it in"
    cache = DataCache(
        Path(data_args.cache_directory),
        encoder,
        data_args.on_bad_record,
        report=report,
        on_missing_question=data_args.on_missing_question,
    )
    read = cache.build if builds else cache.wait
    lengths = Lengths(
        data_args.max_source_length or tokenizer.model_max_length,
        data_args.max_target_length or tokenizer.model_max_length,
    )
    encoded = read(Path(data_args.data_path))
    validation: SupervisedDataset | None = None
    rows = None
    if data_args.validation_file:
        validation = SupervisedDataset(read(Path(data_args.validation_file)), encoder, lengths)
    elif data_args.validation_split > 0:
        conversation_of = np.asarray(encoded.spans[:, 4])
        share = data_args.validation_split
        split = split_by_conversation(conversation_of, share=share, seed=seed)
        rows = split.train
        validation = SupervisedDataset(encoded, encoder, lengths, rows=split.validation)
    return DataModule(
        train_dataset=SupervisedDataset(encoded, encoder, lengths, rows=rows),
        eval_dataset=validation,
        data_collator=DataCollatorForSupervisedDataset(tokenizer),
    )
