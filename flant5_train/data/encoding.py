"""Encoding of conversations: text segments to ids, spans of ids to examples.

There is an encoder for each of the two tokenizations. `encode_batch` encodes conversations as flat
ids and spans of pairs. `preprocess` does it in memory as pairs of id lists, like FastChat's.

Neither torch nor transformers is imported at the top of this module: encoding processes must start
fast and stay small.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from flant5_train.config import OnBadRecord, OnMissingQuestion
from flant5_train.data.conversations import ConversationReader
from flant5_train.data.errors import RecordProblem, SourceLocation
from flant5_train.data.prompt import RenderedConversation, conversations_of, render_prompt
from flant5_train.data.reader import RecordBlock
from flant5_train.models.lossless_tokenizer import WORD_START, LosslessPieces
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.turns import Conversation

if TYPE_CHECKING:
    from transformers import T5Tokenizer

    from flant5_train.models.tokenizer import AnyTokenizer


Ids = NDArray[np.integer]


class PairSpan(NamedTuple):
    """A pair as offsets into one flat array of ids.

    The question is `start` to `answer_start`, the answer `answer_start` to `answer_end`. The
    history of an answer is stored only once.
    """

    start: int
    header_end: int
    answer_start: int
    answer_end: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """Limits in tokens, including EOS."""

    max_source: int
    max_target: int


@dataclass(frozen=True, slots=True)
class Example:
    """Encoder input [S] and decoder target [T] of one pair."""

    source: Ids
    target: Ids


class TextEncoder(Protocol):
    """Encodes segments and cuts pairs to length. Can be pickled."""

    @property
    def fingerprint(self) -> str:
        """Identifier that is equal for encoders with equal ids for every text."""

    @property
    def num_tokens(self) -> int:
        """Size of the vocabulary."""

    def encode(self, texts: Sequence[str]) -> Sequence[Ids]:
        """Returns the ids of each segment, without EOS."""

    def num_end_tokens(self, is_bare: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Returns the number of end ids per question, [N]; a bare one is only a header."""

    def longest(self, lengths: Lengths) -> Lengths:
        """Returns the lengths of the longest example that `cut` returns."""

    def cut(self, tokens: Ids, span: PairSpan, lengths: Lengths) -> Example:
        """Returns the example of a pair; `tokens` is the flat array."""


class HasPieces(Protocol):
    """The part of a LosslessTokenizer that the encoder needs."""

    @property
    def pieces(self) -> LosslessPieces: ...

    @property
    def fingerprint(self) -> str: ...


class LosslessEncoder:
    """Encoder whose ids for a question equal the plain tokenizer's ids for the same text.

    The space after "### Assistant:" belongs to the answer's first piece ("▁Hello"). At the end of a
    question it is a piece of its own, before EOS.
    """

    def __init__(self, tokenizer: HasPieces) -> None:
        self._pieces = tokenizer.pieces
        self._eos = self._pieces.id_of("</s>")
        self._question_end = np.array([self._pieces.id_of(WORD_START), self._eos])
        self.fingerprint = f"lossless:{tokenizer.fingerprint}"
        self.num_tokens = len(self._pieces)

    def encode(self, texts: Sequence[str]) -> Sequence[Ids]:
        return self._pieces.encode([text.removesuffix(" ") for text in texts])

    def num_end_tokens(self, is_bare: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.where(is_bare, 1, 2)

    def longest(self, lengths: Lengths) -> Lengths:
        return lengths

    def cut(self, tokens: Ids, span: PairSpan, lengths: Lengths) -> Example:
        """Cuts the oldest turns of a long question, and the end of a long answer.

        The header is kept, up to half of the source. A cut answer has no EOS, because it does not
        end there.
        """
        is_bare = span.header_end == span.answer_start
        suffix = self._question_end[1 if is_bare else 0 :]
        header = tokens[span.start : span.header_end]
        history = tokens[span.header_end : span.answer_start]
        room = lengths.max_source - len(suffix)
        if len(header) + len(history) > room:
            header = header[: max(room // 2, room - len(history))]
            history = history[len(history) - (room - len(header)) :]
        answer = tokens[span.answer_start : span.answer_end]
        if len(answer) < lengths.max_target:
            answer = np.append(answer, self._eos)
        return Example(np.concatenate([header, history, suffix]), answer[: lengths.max_target])


class FastChatEncoder:
    """FastChat's ids and cuts.

    Keeps the last tokens of a question, header or not, and adds EOS to every question and answer.
    Both sides can be one token longer than the limit.
    """

    def __init__(self, tokenizer: "T5Tokenizer") -> None:
        assert isinstance(tokenizer.eos_token_id, int)
        # Only the Rust part of the tokenizer is needed, and it can be pickled.
        self._tokenizer: Tokenizer = tokenizer.backend_tokenizer
        self._eos = tokenizer.eos_token_id
        self.fingerprint = f"fastchat:{self._tokenizer.to_str()}"
        self.num_tokens = len(tokenizer)

    def encode(self, texts: Sequence[str]) -> Sequence[Ids]:
        encoded = self._tokenizer.encode_batch_fast([*texts], add_special_tokens=False)
        return [np.array(one.ids, dtype=np.int32) for one in encoded]

    def num_end_tokens(self, is_bare: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.ones(is_bare.shape, np.int64)

    def longest(self, lengths: Lengths) -> Lengths:
        return Lengths(lengths.max_source + 1, lengths.max_target + 1)

    def cut(self, tokens: Ids, span: PairSpan, lengths: Lengths) -> Example:
        first = max(span.start, span.answer_start - lengths.max_source)
        last = min(span.answer_end, span.answer_start + lengths.max_target)
        return Example(
            np.append(tokens[first : span.answer_start], self._eos),
            np.append(tokens[span.answer_start : last], self._eos),
        )


def encoder_for(tokenizer: "AnyTokenizer") -> TextEncoder:
    """Returns the encoder of a tokenizer from `load_tokenizer`.

    Also accepts a `T5Tokenizer` with FastChat's tokens from `smart_tokenizer_and_embedding_resize`.
    Raises TrainingError for any other tokenizer.
    """
    from transformers import T5Tokenizer

    from flant5_train.models.tokenizer import LosslessTokenizer

    if isinstance(tokenizer, LosslessTokenizer):
        return LosslessEncoder(tokenizer)
    if isinstance(tokenizer, T5Tokenizer):
        return FastChatEncoder(tokenizer)
    raise TrainingError(
        FailureCode.BAD_CONFIG,
        f"found a {type(tokenizer).__name__}; expected a tokenizer of load_tokenizer() or a"
        " T5Tokenizer",
    )


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

        def warn(warning: RecordProblem, /, *, location: SourceLocation) -> None:
            warnings[warning.reason] += 1

        conversations = ConversationReader(block.records, self.on_bad_record, warn)
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
    scripts = [render_prompt(conversation, on_missing_question) for conversation in conversations]
    texts = [segment.text for rendered in scripts for segment in rendered.segments]
    encoded = encoder.encode(texts)
    lengths = [len(ids) for ids in encoded]
    spans: list[PairSpan] = []
    num_pairs_of: list[int] = []
    at = offset = 0
    for rendered in scripts:
        own_lengths = lengths[at : at + len(rendered.segments)]
        own = _spans(rendered, own_lengths, offset=offset)
        spans += own
        num_pairs_of.append(len(own))
        at += len(own_lengths)
        offset += sum(own_lengths)
    return EncodedBatch(
        tokens=np.concatenate([np.empty(0, np.int32), *encoded]),
        spans=spans,
        num_pairs_of=num_pairs_of,
        left_out=sum((rendered.left_out for rendered in scripts), Counter()),
    )


def _spans(
    rendered: RenderedConversation, lengths: Sequence[int], *, offset: int
) -> list[PairSpan]:
    header_end = offset + lengths[0]
    at = offset
    spans = []
    for segment, length in zip(rendered.segments, lengths, strict=True):
        if segment.is_answer:
            spans.append(PairSpan(offset, header_end, at, at + length))
        at += length
    return spans


def preprocess(
    sources: Sequence[Sequence[Mapping[str, str]]], tokenizer: "AnyTokenizer"
) -> dict[str, list[list[int]]]:
    """Returns encoder inputs and decoder targets of every answer, in order.

    Each list ends with EOS unless the answer was cut. `sources` are lists of `{"from", "value"}`;
    `tokenizer.model_max_length` limits each side. No argument is changed. Raises DataError for a
    malformed conversation.

    preprocess([[human "Hi", gpt "Hello!"]], tokenizer)
    -> {"input_ids": [[71, 3582, ..., 1]], "labels": [[8774, 55, 32101, 1]]}
    """
    encoder = encoder_for(tokenizer)
    lengths = Lengths(tokenizer.model_max_length, tokenizer.model_max_length)
    batch = encode_batch(conversations_of(sources), encoder)
    examples = [encoder.cut(batch.tokens, span, lengths) for span in batch.spans]
    return {
        "input_ids": [example.source.tolist() for example in examples],
        "labels": [example.target.tolist() for example in examples],
    }


def _tokenize_fn(strings: Sequence[str], tokenizer: "AnyTokenizer") -> list[list[int]]:
    """Returns the ids of each string, without EOS."""
    return [ids.tolist() for ids in encoder_for(tokenizer).encode(strings)]
