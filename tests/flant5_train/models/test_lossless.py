import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from flant5_train.models.lossless_tokenizer import extend_vocabulary, normalize
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE, LosslessTokenizer, load_tokenizer
from flant5_train.protocol.failure import TrainingError
from flant5_train.protocol.turns import Conversation

PARTS = [
    *" \n\t<{}`\\^~▁＿８－é日😀",
    *("  ", "        ", "\r\n", "\r", "\u0301", "\u200d", "ﬁ", "½", "…", "----", "</s>"),
    *("<pad>", "<extra_id_0>", "<0x0A>", "the", "def f(x):", "\n    return", "\x00", "\x1b[0m"),
]
texts = st.text(alphabet=st.characters(codec="utf-8")) | st.lists(st.sampled_from(PARTS)).map(
    "".join
)


@pytest.fixture(scope="module")
def exported(
    lossless: LosslessTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> PreTrainedTokenizerBase:
    """The tokenizer as a stranger loads it."""
    directory = tmp_path_factory.mktemp("exported")
    lossless.save_pretrained(str(directory))
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(directory)
    return loaded


@given(text=texts)
@example("")
@example("\n")
@example(" \n  a\n\n b \n")
def test_decoding_gives_back_any_text_up_to_nfkc(lossless: LosslessTokenizer, text: str) -> None:
    decoded = lossless.pieces.decode(*ids_of(lossless, [text]))
    assert decoded == normalize(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    assert unicodedata.normalize("NFKC", decoded) == unicodedata.normalize("NFKC", lines)


@given(text=texts)
@example("   x")
@example("</s> <pad> <extra_id_3> <0x0A>")
def test_the_exported_tokenizer_gives_the_same_ids_and_decodes_plainly(
    lossless: LosslessTokenizer, exported: PreTrainedTokenizerBase, text: str
) -> None:
    (expected,) = ids_of(lossless, [text])
    *ids, eos = exported(text)["input_ids"]
    assert eos == 1
    assert exported.decode([*ids, eos], skip_special_tokens=True) == normalize(text)
    assert ids == expected or _score(lossless, ids) == pytest.approx(_score(lossless, expected))


def ids_of(tokenizer: LosslessTokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [ids.tolist() for ids in tokenizer.pieces.encode(texts)]


def _score(tokenizer: LosslessTokenizer, ids: Sequence[int]) -> float:
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.sentencepiece_model)
    return float(sum(processor.get_score(number) for number in ids))


def test_on_the_examples_the_two_engines_differ_in_fewer_than_one_turn_in_a_hundred(
    lossless: LosslessTokenizer,
    exported: PreTrainedTokenizerBase,
    examples: Sequence[Conversation],
) -> None:
    turns = [turn.text for talk in examples for turn in talk.turns]
    expected = ids_of(lossless, turns)
    found = [ids[:-1] for ids in exported(turns)["input_ids"]]
    different = [pair for pair in zip(expected, found, strict=True) if pair[0] != pair[1]]
    assert len(different) < len(turns) / 100
    for one, other in different:
        assert lossless.pieces.decode(one) == lossless.pieces.decode(other)
        assert _score(lossless, one) == pytest.approx(_score(lossless, other))


def test_the_pieces_of_the_base_vocabulary_keep_their_ids(
    lossless: LosslessTokenizer, vocabulary: Path
) -> None:
    base = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary / SENTENCEPIECE_FILE))
    text = "Please explain how photosynthesis works in a few simple sentences."
    assert ids_of(lossless, [text]) == [base.encode(text)]
    assert len(lossless.pieces) == base.get_piece_size() + 100 + 13 + 256


def test_an_extended_vocabulary_is_not_extended_again(lossless: LosslessTokenizer) -> None:
    assert extend_vocabulary(lossless.sentencepiece_model) == lossless.sentencepiece_model


def test_text_that_looks_like_a_special_token_is_text(exported: PreTrainedTokenizerBase) -> None:
    ids = exported("a </s> b")["input_ids"]
    assert ids.count(1) == 1
    assert exported.decode(ids, skip_special_tokens=True) == "a </s> b"


def test_a_model_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"spiece\.model could not be read"):
        load_tokenizer(tmp_path)
