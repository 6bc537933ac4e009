import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flant5_train.config import OnBadRecord
from flant5_train.data import reader
from flant5_train.data.conversations import ConversationFile
from flant5_train.data.errors import DataError
from flant5_train.protocol.turns import Conversation, Role, Turn

TALK = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}]}
HI_YES = Conversation((Turn(Role.HUMAN, "Hi"), Turn(Role.GPT, "Yes.")))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def changed(change: Callable[[Any], object]) -> str:
    """Two conversations in an indented array, the second one changed."""
    second = json.loads(json.dumps(TALK))
    change(second)
    return json.dumps([TALK, second], indent=1)


def set_turn(index: int, **fields: object) -> Callable[[Any], object]:
    return lambda talk: talk["conversations"][index].update(fields)


def test_sharegpt_arrays_lines_and_chat_messages_mean_the_same(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    chat["messages"].append({"role": "assistant", "content": "Yes."})
    forms: dict[str, str | bytes] = {
        "array.json": json.dumps([TALK, TALK]),
        "indented.json": json.dumps([TALK, TALK], indent=2),
        "with a byte order mark.json": b"\xef\xbb\xbf" + json.dumps([TALK, TALK]).encode(),
        "lines.jsonl": f"{json.dumps(TALK)}\n\n{json.dumps(TALK)}",
        "chat.jsonl": f"{json.dumps(chat)}\n{json.dumps(chat)}\n",
        "chat array.json": json.dumps([chat, chat]),
        "mixed.jsonl": f"{json.dumps(TALK)}\n{json.dumps(chat)}\n",
    }
    for name, content in forms.items():
        assert list(ConversationFile(written(tmp_path / name, content))) == [HI_YES] * 2, name


@pytest.mark.parametrize("name", ["gpt", "assistant", "ChatGPT", "bing", "bard"])
def test_every_name_of_an_answering_role_is_understood(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.json", changed(set_turn(1, **{"from": name})))
    assert list(ConversationFile(path)) == [HI_YES, HI_YES]


def test_an_assistant_message_of_weight_0_is_context_only(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "weight": 0},
    ]
    (talk,) = ConversationFile(written(tmp_path / "a.jsonl", json.dumps({"messages": messages})))
    assert talk.turns[1] == Turn(Role.GPT, "b", is_trained=False)


MALFORMED = {
    "a number": (lambda _: None, "[1]", "record 1 (line 1): found a number; expected an object"),
    "another field": (
        lambda talk: talk.update(chats=talk.pop("conversations")),
        None,
        "record 2 (line 14): found the fields 'chats'; expected 'conversations'",
    ),
    "no turns": (
        lambda talk: talk.update(conversations=[]),
        None,
        "record 2 (line 14): field 'conversations': found an empty list; expected a list of turns",
    ),
    "an unknown role": (
        set_turn(1, **{"from": "alien"}),
        None,
        "record 2 (line 14): field 'conversations[1].from': found 'alien'; expected one of",
    ),
    "no role": (
        lambda talk: talk["conversations"][0].pop("from"),
        None,
        "field 'conversations[0].from': found nothing, only the fields 'value'; expected one of",
    ),
    "no text": (
        set_turn(1, value=None),
        None,
        "field 'conversations[1].value': found nothing; expected a string",
    ),
    "text in parts": (
        set_turn(1, value=["Yes."]),
        None,
        "field 'conversations[1].value': found a part 0 that is not text; expected a string, or",
    ),
    "a broken character": (
        set_turn(0, value="\ud83d"),
        None,
        "field 'conversations[0].value': found half of a surrogate pair",
    ),
    "the same speaker twice with two weights": (
        lambda talk: talk["conversations"].append({"from": "gpt", "value": "No.", "weight": 0}),
        None,
        "field 'conversations[2]': found a second 'gpt' turn in a row, of another weight",
    ),
    "a late system turn": (
        set_turn(1, **{"from": "system"}),
        None,
        "field 'conversations[1]': found a system turn; expected it to come first",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_record_is_refused_with_its_place_and_field(tmp_path: Path, name: str) -> None:
    change, content, message = MALFORMED[name]
    path = written(tmp_path / "talks.json", content or changed(change))
    with pytest.raises(DataError) as caught:
        list(ConversationFile(path))
    assert str(caught.value).startswith("talks.json: record ")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", [name for name in MALFORMED if MALFORMED[name][1] is None])
def test_malformed_records_can_be_skipped_and_are_counted(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "talks.json", changed(MALFORMED[name][0]))
    file = ConversationFile(path, OnBadRecord.SKIP)
    assert list(file) == [HI_YES]
    assert sum(file.skipped.values()) == 1


UNUSABLE = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n\t\n", "the file is empty"),
    "UTF-16": (json.dumps([TALK]).encode("utf-16"), "this is UTF-16; expected JSON text in UTF-8"),
    "gzip": (b"\x1f\x8b\x08\x00", "this is gzip-compressed data"),
    "latin-1 in an array": (
        json.dumps([TALK, {"x": "café"}], ensure_ascii=False, indent=1).encode("latin-1"),
        "line 15: byte 0xe9 at offset 147 is not UTF-8",
    ),
    "latin-1 in lines": (
        f"{json.dumps(TALK)}\n{{'x': 'café'}}\n".encode("latin-1"),
        "record 2 (line 2): byte 0xe9 at offset 10 is not UTF-8",
    ),
    "cut in a record": (
        json.dumps([TALK, TALK], indent=1)[:-30].encode(),
        "record 2 (line 14): the file ends inside this record: it is truncated",
    ),
    "cut in a string": (
        b'[{"conversations": [{"from": "hum',
        "record 1 (line 1): the file ends inside this record: it is truncated",
    ),
    "cut before the bracket": (
        json.dumps([TALK])[:-1].encode(),
        "expected ',' after record 1, found the end of the file: it is truncated",
    ),
    "a comma too many": (
        json.dumps([TALK])[:-1].encode() + b",]",
        "record 2 (line 1): not valid JSON in line 1: Expecting value",
    ),
    "a colon too few": (
        json.dumps([TALK, TALK], indent=1)[::-1].replace(":", "", 1)[::-1].encode(),
        "record 2 (line 14): not valid JSON in line 22: Expecting ':' delimiter",
    ),
    "text behind the array": (json.dumps([TALK]).encode() + b" x", "more text after the array"),
    "one object over many lines": (
        json.dumps(TALK, indent=1).encode(),
        "record 1 (line 1): not valid JSON",
    ),
    "plain text": (b"hello\nworld", "record 1 (line 1): not valid JSON"),
    "nested too deeply": (b"[" * 100_000, "record 1 (line 1): not valid JSON"),
    "a number without an end": (b'[{"x": ' + b"9" * 5000 + b"}]", "not valid JSON"),
    "one record of 50 MB": (
        b'[{"conversations": [{"from": "human", "value": "' + b"x" * 50_000_000 + b'"}]}]',
        "record 1 (line 1): the record is longer than 16 MiB",
    ),
    "one line of 50 MB": (
        b'{"messages": [{"role": "user", "content": "' + b"x" * 50_000_000 + b'"}]}\n',
        "record 1 (line 1): the record is longer than 16 MiB",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_file_is_refused_with_the_place_and_the_reason(
    tmp_path: Path, name: str
) -> None:
    content, message = UNUSABLE[name]
    path = written(tmp_path / "talks", content)
    with pytest.raises(DataError) as caught:
        list(ConversationFile(path))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.json: can't be opened"):
        list(ConversationFile(tmp_path / "no.json"))


def test_an_overlong_line_can_be_skipped_and_the_next_is_read(tmp_path: Path) -> None:
    long = UNUSABLE["one line of 50 MB"][0]
    path = written(tmp_path / "a.jsonl", long + json.dumps(TALK).encode())
    file = ConversationFile(path, OnBadRecord.SKIP)
    assert list(file) == [HI_YES]
    assert file.skipped == {"record too long": 1}


@given(
    texts=st.lists(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), min_size=1),
    indent=st.sampled_from([None, 0, 3]),
    chunk=st.integers(1, 40),
)
def test_an_array_is_read_whole_wherever_its_chunks_are_cut(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], indent: int | None, chunk: int
) -> None:
    talks = [{"conversations": [{"from": "human", "value": text}]} for text in texts]
    text = json.dumps(talks, indent=indent, ensure_ascii=False)
    path = written(tmp_path_factory.getbasetemp() / "chunks.json", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_CHUNK_BYTES", chunk)
        read = [talk.turns[0].text for talk in ConversationFile(path)]
    assert read == texts
