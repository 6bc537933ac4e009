from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flant5_train.data.encoding import encoder_for
from flant5_train.models.tokenizer import AnyTokenizer, LosslessTokenizer, load_tokenizer
from flant5_train.serving.detokenizer import AnswerDetokenizer, detokenizer_for

TEXTS = (
    "Hello!\n",
    "```python\ndef f(x):\n\treturn {'a': 1}  # ~ ^ `\n```\n",
    "🎉 👩‍👩‍👧 日本語\n  日本\n\n\n end",
    "a  b   c          d\t\t\te ▁ ＿",
    " starts with a space,  ends with some  ",
    "\n\n \n  \n",
    "",
)
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def streamed(tokenizer: AnyTokenizer, ids: list[int]) -> str:
    stream = detokenizer_for(tokenizer)
    return "".join(map(stream.feed, ids)) + stream.end()


def ids_of(tokenizer: AnyTokenizer, text: str) -> list[int]:
    return [int(token) for token in encoder_for(tokenizer).encode([text])[0]]


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_joined_are_what_the_tokenizer_decodes(
    lossless: LosslessTokenizer, text: str
) -> None:
    ids = ids_of(lossless, text)
    assert streamed(lossless, [0, *ids, 1]) == lossless.decode(ids, skip_special_tokens=True)


@QUICK
@given(text=st.text(max_size=60))
def test_any_text_comes_back_as_the_tokenizer_decodes_it(
    lossless: LosslessTokenizer, text: str
) -> None:
    ids = ids_of(lossless, text)
    assert streamed(lossless, ids) == lossless.decode(ids, skip_special_tokens=True)


@QUICK
@given(data=st.data())
def test_any_tokens_without_broken_bytes_do_as_well(lossless: LosslessTokenizer, data: Any) -> None:
    tokens = st.integers(0, len(lossless) - 257)  # the bytes come last
    ids = data.draw(st.lists(tokens, max_size=30))
    assert streamed(lossless, ids) == lossless.decode(ids, skip_special_tokens=True)


def test_a_character_of_several_bytes_is_said_when_it_is_whole(lossless: LosslessTokenizer) -> None:
    ids = [byte_id(lossless, byte) for byte in "🎉🎉".encode()]
    stream = detokenizer_for(lossless)
    assert list(map(stream.feed, ids)) == ["", "", "", "🎉"] * 2
    assert stream.end() == ""


def test_bytes_that_make_no_character_spoil_nothing_beside_them(
    lossless: LosslessTokenizer,
) -> None:
    good = [byte_id(lossless, byte) for byte in "🎉".encode()]
    ids = [*good, good[0], good[1]]
    assert streamed(lossless, ids) == "🎉\ufffd"
    (letter,) = ids_of(lossless, "<")[-1:]
    assert streamed(lossless, [*good[:2], letter]) == "\ufffd<"


def test_the_space_of_a_line_start_is_never_said(lossless: LosslessTokenizer) -> None:
    stream = detokenizer_for(lossless)
    said = [text for token in ids_of(lossless, "a\nb\n\n  c") if (text := stream.feed(token))]
    assert "".join(said) == "a\nb\n\n  c"


def test_fastchats_tokens_are_decoded_by_its_tokenizer(
    vocabulary: Any,
) -> None:
    tokenizer = load_tokenizer(vocabulary, tokenization="fastchat")
    for text in ("Hello, world!\n", "def f(x):\n\treturn {x}", "a  b"):
        ids = ids_of(tokenizer, text)
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        assert decoded
        assert streamed(tokenizer, ids) == decoded


def byte_id(tokenizer: LosslessTokenizer, byte: int) -> int:
    return tokenizer.pieces.id_of(f"<0x{byte:02X}>")


def answered(
    tokenizer: LosslessTokenizer, text: str, *, stop: tuple[str, ...] = (), is_whole: bool = True
) -> tuple[list[str], bool]:
    """What is said of an answer of this text, and whether a stop sequence ended it."""
    answer = AnswerDetokenizer(detokenizer_for(tokenizer), stop=stop)
    said = []
    for token in ids_of(tokenizer, text):
        said.append(answer.feed(token))
        if answer.is_stopped:
            break
    said.append(answer.end(is_whole=is_whole))
    return said, answer.is_stopped


@pytest.mark.parametrize(
    ("text", "is_whole", "expected"),
    [
        ("Hello!\n", True, "Hello!"),
        ("Hello!\n\n", True, "Hello!\n"),
        ("Hello!\n", False, "Hello!\n"),
        ("Hello!", True, "Hello!"),
        ("\n", True, ""),
    ],
)
def test_the_line_end_of_the_turn_is_no_part_of_the_answer(
    lossless: LosslessTokenizer, text: str, is_whole: bool, expected: str
) -> None:
    said, is_stopped = answered(lossless, text, is_whole=is_whole)
    assert ("".join(said), is_stopped) == (expected, False)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (("END",), "one two "),
        (("absent",), "one two END three"),
        (("three", "two"), "one "),
        (("ee",), "one two END thr"),
        (("o END",), "one tw"),
        (("one",), ""),
        (("three and more",), "one two END three"),
    ],
)
def test_an_answer_ends_before_a_stop_sequence_and_says_none_of_it(
    lossless: LosslessTokenizer, stop: tuple[str, ...], expected: str
) -> None:
    said, is_stopped = answered(lossless, "one two END three\n", stop=stop)
    assert "".join(said) == expected
    assert is_stopped == (expected != "one two END three")


@QUICK
@given(
    text=st.text(alphabet="ab\n ", max_size=30),
    stop=st.text(alphabet="ab\n ", min_size=1, max_size=4),
)
def test_what_is_said_before_a_stop_sequence_is_the_text_before_it(
    lossless: LosslessTokenizer, text: str, stop: str
) -> None:
    decoded = str(lossless.decode(ids_of(lossless, text), skip_special_tokens=True))
    said, is_stopped = answered(lossless, text, stop=(stop,), is_whole=False)
    assert "".join(said) == decoded.partition(stop)[0]
    assert is_stopped == (stop in decoded)
