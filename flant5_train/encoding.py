"""Conversations to flat ids and the spans of their pairs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from flant5_train.conversations import Conversation
from flant5_train.encoder import Ids, PairSpan, TextEncoder
from flant5_train.prompt import Script, write_script


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """Some conversations, each turn encoded once."""

    tokens: Ids
    """The ids of all conversations, one after the other, [N]."""
    spans: list[PairSpan]
    """The pairs, in order, as offsets into `tokens`."""
    num_pairs_of: list[int]
    """The number of pairs of each conversation."""
    left_out: Counter[str]
    """Turns that make no pair, by reason."""


def encode_batch(conversations: Sequence[Conversation], encoder: TextEncoder) -> EncodedBatch:
    """All segments go through the encoder in one call, which is what makes it fast."""
    scripts = [write_script(conversation) for conversation in conversations]
    texts = [segment.text for script in scripts for segment in script.segments]
    encoded = iter(encoder.encode(texts))
    tokens: list[list[int]] = []
    spans: list[PairSpan] = []
    num_pairs_of: list[int] = []
    offset = 0
    for script in scripts:
        segments = [next(encoded) for _ in script.segments]
        own = _spans(script, [len(ids) for ids in segments], offset=offset)
        tokens += segments
        spans += own
        num_pairs_of.append(len(own))
        offset += sum(len(ids) for ids in segments)
    return EncodedBatch(
        tokens=np.fromiter(chain.from_iterable(tokens), dtype=np.int32, count=offset),
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
