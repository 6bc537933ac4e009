r"""Lossless tokenization: T5's word pieces plus pieces for missing characters.

T5's vocabulary has no newline, tab, backtick or `< { } \ ^ ~`, squeezes white space and covers
few scripts. Here each of those characters is one piece. Runs of 2, 4 and 8 spaces are one piece
each. Any other character falls back to its UTF-8 bytes. The ids of T5's pieces stay.

`to_written` first converts text to a form in which each character stands for itself. Sentencepiece
and the exported Rust tokenizer then need no rules of their own:

    "\nIf x:\n    y"  ->  " \n If x:\n４ y"

A line start keeps its space: "\nSure" still matches the pretrained piece "▁Sure". Full-width
characters can represent runs, because NFKC, applied first, removes them from any text.

`build_rust_tokenizer` makes a `tokenizer.json` for plain `AutoTokenizer`. Its ids equal
sentencepiece's, except for segmentations with the same unigram score. The two engines add scores in
different precision, and may choose different pieces there.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from flant5_train.protocol.failure import FailureCode, TrainingError

WORD_START = "▁"
"""Sentencepiece's character for a space."""
WRITTEN_BAR = "＿"
"""Replacement for a literal U+2581, which sentencepiece reads as a space."""


class SpaceRun(NamedTuple):
    """A run of spaces with its own piece.

    The last space before a word always stays a space: the word keeps its pretrained piece.
    """

    num_spaces: int
    written: str


RUNS = (SpaceRun(8, "８"), SpaceRun(4, "４"), SpaceRun(2, "２"))
SYMBOLS = ("\n", "\t", "<", "{", "}", "`", "\\", "^", "~", WRITTEN_BAR, *(r.written for r in RUNS))
LINE_START = r"\n(?=[^\n])"
NUM_EXTRA_IDS = 100

_LINE_START = re.compile(LINE_START)
_RUN = re.compile(" {2,}(?= )")
_NFKC = normalizers.NFKC()


def normalize(text: str) -> str:
    """Returns the text as decoding restores it: NFKC, as in T5's training, and "\\n" line ends.

    The exported tokenizer uses the same Unicode tables, those of the `tokenizers` library.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return text
    return str(_NFKC.normalize_str(text))


def to_written(text: str) -> str:
    """Returns the form of `text` that is split into pieces; empty stays empty."""
    if not text:
        return text
    written = " " + _LINE_START.sub("\n ", normalize(text).replace(WORD_START, WRITTEN_BAR))
    return _RUN.sub(_written_run, written) if "   " in written else written


def _written_run(spaces: re.Match[str]) -> str:
    """Replaces the longest runs first: 15 spaces become "８４２ "."""
    written, rest = "", len(spaces[0])
    for run in RUNS:
        count, rest = divmod(rest, run.num_spaces)
        written += run.written * count
    return written + " " * rest


def from_written(written: str) -> str:
    """Inverts `to_written`, up to `normalize`."""
    for run in RUNS:
        written = written.replace(run.written, " " * run.num_spaces)
    return written.replace("\n ", "\n").replace(WRITTEN_BAR, WORD_START).removeprefix(" ")


def extend_vocabulary(model: bytes) -> bytes:
    """Returns a sentencepiece model with the missing pieces appended.

    T5's 32,000 pieces become 32,369: the 100 sentinels `<extra_id_*>` (32000 to 32099, in T5's
    numbering), the symbols, then 256 bytes. A model that has them all keeps its ids. Raises
    TrainingError if a piece of `model` contains a symbol.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    kind = sentencepiece_model_pb2.ModelProto.SentencePiece
    _refuse_overlapping_pieces(proto)
    known = {piece.piece for piece in proto.pieces}
    lowest = min(piece.score for piece in proto.pieces)
    sentinels = [f"<extra_id_{number}>" for number in reversed(range(NUM_EXTRA_IDS))]
    wanted = [(piece, 0.0, kind.CONTROL) for piece in sentinels]
    wanted += [(piece, 0.0, kind.USER_DEFINED) for piece in SYMBOLS]
    wanted += [(f"<0x{byte:02X}>", lowest - 10, kind.BYTE) for byte in range(256)]
    for piece, score, piece_type in wanted:
        if piece not in known:
            proto.pieces.add(piece=piece, score=score, type=piece_type)
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.vocab_size = len(proto.pieces)
    # `to_written` does all of this.
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.precompiled_charsmap = b""
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    return bytes(proto.SerializeToString())


def _refuse_overlapping_pieces(proto: sentencepiece_model_pb2.ModelProto) -> None:
    normal = sentencepiece_model_pb2.ModelProto.SentencePiece.NORMAL
    for piece in proto.pieces:
        inside = piece.piece[1:] if piece.piece.startswith(WORD_START) else piece.piece
        if piece.type == normal and any(mark in inside for mark in (WORD_START, *SYMBOLS)):
            raise TrainingError(
                FailureCode.BAD_MODEL,
                f"the vocabulary's piece {piece.piece!r} contains a space or one of {SYMBOLS};"
                " expected a T5 vocabulary, whose pieces contain none",
                param="model",
            )


class LosslessPieces:
    """Sentencepiece tokenizer of the extended vocabulary: 8 to 10 times faster than the Rust one.

    Can be pickled and sent to another process.
    """

    def __init__(self, model: bytes) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Returns the ids of each text, without EOS, as read-only arrays."""
        written = [to_written(text) for text in texts]
        # One thread: parallel work runs in processes, which parallelize the other steps too.
        ids: list[NDArray[np.int32]] = self._processor.encode(
            written, return_type="numpy", num_threads=1
        )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids from `encode`."""
        return from_written(self._processor.decode([*ids]))

    def id_of(self, piece: str) -> int:
        return int(self._processor.piece_to_id(piece))


EOS = "</s>"
PAD = "<pad>"
UNKNOWN = "<unk>"
_STRETCH = f"<|{WORD_START}[^{WORD_START}<]*|[^{WORD_START}<]+"
"""Text that is split into pieces separately: a "<", a word with its leading space, or the rest.

Without this split, Unigram would read "</s>" or "<0x0A>" in a text as the piece of that
name. Splits at spaces change nothing and keep the search short. One `isolated` split, because
transformers.js (@huggingface/tokenizers 0.2.0) treats every behavior as that one.
"""
SENTINELS = [f"<extra_id_{number}>" for number in range(NUM_EXTRA_IDS)]


def build_rust_tokenizer(model: bytes) -> Tokenizer:
    """Returns the Rust form of an extended sentencepiece model (`extend_vocabulary`)."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    ids = {piece: number for number, (piece, _) in enumerate(pieces)}
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=ids[UNKNOWN], byte_fallback=True))
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_STRETCH), "isolated")
    tokenizer.decoder = _decoder()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, ids[EOS])]
    )
    special = [PAD, EOS, UNKNOWN, *SENTINELS]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return tokenizer


def _normalizer() -> normalizers.Normalizer:
    """Returns the steps of `to_written`."""
    replace = normalizers.Replace
    return normalizers.Sequence(
        [
            replace("\r\n", "\n"),
            replace("\r", "\n"),
            normalizers.NFKC(),
            replace(WORD_START, WRITTEN_BAR),
            replace(Regex(LINE_START), "\n "),
            normalizers.Prepend(" "),
            *[replace(Regex(f" {{{run.num_spaces}}}(?= )"), run.written) for run in RUNS],
            replace(" ", WORD_START),
        ]
    )


def _decoder() -> decoders.Decoder:
    """Returns the steps of `from_written`, with byte fallback before them."""
    replace = decoders.Replace
    return decoders.Sequence(
        [
            replace(WORD_START, " "),
            *[replace(run.written, " " * run.num_spaces) for run in RUNS],
            decoders.ByteFallback(),
            decoders.Fuse(),
            replace(Regex(r"\A "), ""),
            replace("\n ", "\n"),
            replace(WRITTEN_BAR, WORD_START),
        ]
    )
