import copy
import json
from collections.abc import Sequence

import numpy as np
import pytest
from transformers import AutoTokenizer, T5Tokenizer

from flant5_train.data.encoding import (
    Lengths,
    LosslessEncoder,
    PairSpan,
    _tokenize_fn,
    encode_batch,
    encoder_for,
    preprocess,
)
from flant5_train.data.prompt import _form_qa
from flant5_train.models.tokenizer import LosslessTokenizer, load_tokenizer
from flant5_train.protocol.turns import Conversation, Role
from tests.flant5_train.conftest import FASTCHAT_PAIRS, T5_VOCABULARY

EOS = 1


def sources_of(talks: Sequence[Conversation]) -> list[list[dict[str, str]]]:
    return [[{"from": str(t.role), "value": t.text} for t in talk.turns] for talk in talks]


@pytest.mark.skipif(not FASTCHAT_PAIRS.exists(), reason="FastChat's pairs are not at hand")
@pytest.mark.parametrize("case", [0, 1])
def test_fastchat_mode_reproduces_fastchats_pairs_id_by_id(case: int) -> None:
    golden = json.loads(FASTCHAT_PAIRS.read_text(encoding="utf-8"))
    expected = golden["cases"][case]
    tokenizer = load_tokenizer(
        T5_VOCABULARY, tokenization="fastchat", model_max_length=expected["model_max_length"]
    )
    assert isinstance(tokenizer, T5Tokenizer)
    added = expected["added_tokens"]
    assert tokenizer.convert_tokens_to_ids(list(added)) == list(added.values())
    sources = [conversation["conversations"] for conversation in golden["conversations"]]
    before = copy.deepcopy(sources)
    pairs = preprocess(sources, tokenizer)
    assert pairs["input_ids"] == expected["input_ids"]
    assert pairs["labels"] == expected["labels"]
    assert sources == before


def test_the_plain_tokenizer_gives_the_trained_ids_for_a_question(
    lossless: LosslessTokenizer, examples: Sequence[Conversation]
) -> None:
    sources = sources_of(examples)
    expected = _form_qa(sources)
    pairs = preprocess(sources, lossless)
    questions = lossless([pair.question for pair in expected])["input_ids"]
    answers = lossless([pair.answer for pair in expected])["input_ids"]
    same = [
        found == wanted
        for found, wanted in zip(
            [*pairs["input_ids"], *pairs["labels"]], [*questions, *answers], strict=True
        )
    ]
    # The rest are ties between segmentations, where the two engines may differ.
    assert sum(same) / len(same) > 0.97
    decoded = [lossless.decode(ids, skip_special_tokens=True) for ids in pairs["input_ids"]]
    assert decoded == [lossless.decode(ids, skip_special_tokens=True) for ids in questions]


def test_each_answer_ends_with_eos_and_short_ones_are_kept(lossless: LosslessTokenizer) -> None:
    talk = [{"from": "human", "value": "Is it?"}, {"from": "gpt", "value": "Yes."}]
    pairs = preprocess([talk], lossless)
    assert [ids[-1] for ids in [*pairs["input_ids"], *pairs["labels"]]] == [EOS, EOS]
    assert lossless.decode(pairs["labels"][0], skip_special_tokens=True) == "Yes.\n"


def cut(encoder: LosslessEncoder, span: PairSpan, lengths: Lengths) -> tuple[list[int], list[int]]:
    example = encoder.cut(np.arange(1000, 1100), span, lengths)
    return example.source.tolist(), example.target.tolist()


def test_a_long_question_loses_its_oldest_turns_but_keeps_its_header(
    lossless: LosslessTokenizer,
) -> None:
    encoder = LosslessEncoder(lossless)
    source, _ = cut(encoder, PairSpan(0, 4, 40, 45), Lengths(12, 20))
    assert source[:-2] == [1000, 1001, 1002, 1003, *range(1034, 1040)]
    assert source[-1] == EOS


def test_a_long_header_leaves_half_of_the_source_to_the_turns(lossless: LosslessTokenizer) -> None:
    source, _ = cut(LosslessEncoder(lossless), PairSpan(0, 30, 40, 45), Lengths(12, 20))
    assert source[:-2] == [*range(1000, 1005), *range(1035, 1040)]


def test_a_cut_answer_has_no_eos_and_a_whole_one_has(lossless: LosslessTokenizer) -> None:
    encoder = LosslessEncoder(lossless)
    span = PairSpan(0, 4, 10, 20)
    assert cut(encoder, span, Lengths(50, 11))[1] == [*range(1010, 1020), EOS]
    assert cut(encoder, span, Lengths(50, 10))[1] == [*range(1010, 1020)]
    assert cut(encoder, span, Lengths(50, 9))[1] == [*range(1010, 1019)]


def test_a_history_is_stored_once(
    lossless: LosslessTokenizer, examples: Sequence[Conversation]
) -> None:
    batch = encode_batch(examples, encoder_for(lossless))
    answers = sum(turn.role is Role.GPT for talk in examples for turn in talk.turns)
    assert len(batch.spans) == answers == sum(batch.num_pairs_of)
    texts = [turn.text for talk in examples for turn in talk.turns]
    once = sum(len(ids) for ids in _tokenize_fn(texts, lossless))
    markers = 60 * len(examples) + 20 * len(batch.spans)
    assert len(batch.tokens) < once + markers


def test_a_tokenizer_of_another_kind_is_refused(
    lossless: LosslessTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("plain")
    lossless.save_pretrained(str(directory))
    with pytest.raises(Exception, match=r"expected a tokenizer of load_tokenizer\(\)"):
        preprocess([], AutoTokenizer.from_pretrained(directory))  # type: ignore[arg-type]
