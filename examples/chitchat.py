"""Turns the Chit-Chat data set (PyPI `chitchat-dataset`, MIT) into ShareGPT form.

    python examples/chitchat.py chitchat.json

Consecutive messages of one sender are joined by newlines. The first speaker is the human.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import chitchat_dataset


def turns_of(messages: Sequence[Sequence[Mapping[str, str]]]) -> Iterator[dict[str, str]]:
    """Yields the turns of one conversation, without blank messages."""
    said = [message for group in messages for message in group if message["text"].strip()]
    speakers = ["human", "gpt"]
    by_sender = groupby(said, key=lambda message: message["sender"])
    for index, (_, joined) in enumerate(by_sender):
        text = "\n".join(message["text"].strip() for message in joined)
        yield {"from": speakers[index % 2], "value": text}


def main(path: Path) -> None:
    dataset: Mapping[str, Any] = chitchat_dataset.Dataset()
    conversations = [
        {"id": name, "conversations": turns}
        for name, conversation in dataset.items()
        if (turns := list(turns_of(conversation["messages"])))
    ]
    path.write_text(json.dumps(conversations, ensure_ascii=False, indent=1), encoding="utf-8")
    num_turns = sum(len(conversation["conversations"]) for conversation in conversations)
    print(f"{path}: {len(conversations)} conversations, {num_turns} turns")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
