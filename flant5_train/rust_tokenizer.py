"""Lossless tokenization as a `tokenizer.json` for plain `AutoTokenizer`.

Its ids equal sentencepiece's, except for segmentations with the same unigram score. The two engines
add scores in different precision, and may choose different pieces there.
"""

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

from flant5_train.models.lossless_tokenizer import (
    LINE_START,
    NUM_EXTRA_IDS,
    RUNS,
    WORD_START,
    WRITTEN_BAR,
)

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
    """Returns the Rust form of an extended sentencepiece model (`lossless.extend_vocabulary`)."""
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
    """Returns the steps of `lossless.to_written`."""
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
    """Returns the steps of `lossless.from_written`, with byte fallback before them."""
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
