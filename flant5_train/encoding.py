"""Encodes conversations as flat ids and spans of pairs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from flant5_train.config import OnBadRecord, OnMissingQuestion
from flant5_train.data.conversations import Conversations
from flant5_train.data.encoding import Ids, PairSpan, TextEncoder
from flant5_train.data.errors import Place, Problem
from flant5_train.data.prompt import Script, write_script
from flant5_train.data.reader import RecordBlock
from flant5_train.protocol.turns import Conversation


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """Some conversations, each turn encoded once."""

    tokens: Ids
    """Ids of all conversations, concatenated, [N]."""
    spans: list[PairSpan]
    """Pairs in order, as offsets into `tokens`."""
    num_pairs_of: list[int]
    """Number of pairs of each conversation."""
    left_out: Counter[str]
    """Turns and records that make no pair, by reason."""
    warnings: Counter[str] = field(default_factory=Counter)
    """Warnings of the records, by kind."""

    @property
    def num_conversations(self) -> int:
        return len(self.num_pairs_of)


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """The conversations of a block of records."""

    batch: EncodedBatch
    num_bytes_read: int
    """Bytes of the file read up to the end of the block."""


@dataclass(frozen=True, slots=True)
class BlockEncoder:
    """Encodes blocks of records. Can be pickled and sent to another process."""

    encoder: TextEncoder
    on_bad_record: OnBadRecord
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN

    @property
    def token_type(self) -> str:
        """The numpy type that holds any id in the fewest bytes."""
        return "uint16" if self.encoder.num_tokens <= 1 << 16 else "uint32"

    def __call__(self, block: RecordBlock) -> EncodedBlock:
        """Raises DataError for a malformed record under `OnBadRecord.FAIL`."""
        warnings: Counter[str] = Counter()

        def warn(warning: Problem, /, *, place: Place) -> None:
            warnings[warning.reason] += 1

        conversations = Conversations(block.records, self.on_bad_record, warn)
        batch = encode_batch([*conversations], self.encoder, self.on_missing_question)
        batch = replace(
            batch,
            tokens=batch.tokens.astype(self.token_type),
            left_out=batch.left_out + conversations.left_out(),
            warnings=warnings,
        )
        return EncodedBlock(batch, block.num_bytes_read)


def encode_batch(
    conversations: Sequence[Conversation],
    encoder: TextEncoder,
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN,
) -> EncodedBatch:
    """Encodes conversations. All segments go through the encoder in one call, for speed."""
    scripts = [write_script(conversation, on_missing_question) for conversation in conversations]
    texts = [segment.text for script in scripts for segment in script.segments]
    encoded = encoder.encode(texts)
    lengths = [len(ids) for ids in encoded]
    spans: list[PairSpan] = []
    num_pairs_of: list[int] = []
    at = offset = 0
    for script in scripts:
        own_lengths = lengths[at : at + len(script.segments)]
        own = _spans(script, own_lengths, offset=offset)
        spans += own
        num_pairs_of.append(len(own))
        at += len(own_lengths)
        offset += sum(own_lengths)
    return EncodedBatch(
        tokens=np.concatenate([np.empty(0, np.int32), *encoded]),
        spans=spans,
        num_pairs_of=num_pairs_of,
        left_out=sum((script.left_out for script in scripts), Counter()),
    )


def _spans(script: Script, lengths: Sequence[int], *, offset: int) -> list[PairSpan]:
    header_end = offset + lengths[0]
    at = offset
    spans = []
    for segment, length in zip(script.segments, lengths, strict=True):
        if segment.is_answer:
            spans.append(PairSpan(offset, header_end, at, at + length))
        at += length
    return spans
