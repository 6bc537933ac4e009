"""What is wrong with a record, and what in a sound one is seldom meant so."""

from collections.abc import Iterator

from flant5_train.conversations import Conversation, Role, problems_of
from flant5_train.place import Problem
from flant5_train.records import RawRecord


def problems_of_record(record: RawRecord) -> Iterator[Problem]:
    """What makes it unusable."""
    if record.error is None:
        yield from problems_of(record.value)
        return
    assert record.error.problem is not None, "each error of a record has its parts"
    yield record.error.problem


def warnings_of(conversation: Conversation, field: str) -> Iterator[Problem]:
    """What makes no pair, and is seldom meant so."""
    for index, turn in enumerate(conversation.turns):
        if turn.role is Role.GPT and not turn.text.strip():
            yield Problem("empty answer", "no text", "an answer to learn", f"{field}[{index}]")
    last = conversation.turns[-1]
    if last.role is Role.HUMAN:
        at = f"{field}[{len(conversation.turns) - 1}]"
        yield Problem("human turn without an answer", "the last turn", "an answer behind it", at)
    if last.role is Role.SYSTEM:
        yield Problem("no turns but a system turn", "a system turn alone", "a talk", field)
