"""Speaks as `flant5_train.serving` does and answers with the last message, word by word; "hang" it
never answers, "die" kills it, "mumble" it answers with nonsense, "which model?" with the model."""

import os
import signal
import sys
from pathlib import Path

from flant5_train.protocol.inference import (
    AnswerFinished,
    AnswerStarted,
    CancelRequest,
    Refused,
    StreamEvent,
    TextDelta,
    parse_order,
)

notes = Path(sys.argv[1])


def say(piece: StreamEvent) -> None:
    print(piece.model_dump_json(), flush=True)


for line in sys.stdin.buffer:
    order = parse_order(line)
    with notes.open("a") as file:
        file.write(f"{order.type} {order.id}\n")
    if isinstance(order, CancelRequest):
        continue
    text = order.question.turns[-1].content
    if text == "hang":
        continue
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "mumble":
        print("mumble", flush=True)
        continue
    if text == "which model?":
        message = f"model '{order.question.model}' can't be loaded"
        say(Refused(id=order.id, kind="invalid", message=message))
        continue
    say(AnswerStarted(id=order.id, prompt_tokens=7, truncated_tokens=0))
    words = text.split(" ")
    for number, word in enumerate(words):
        say(TextDelta(id=order.id, text=word if number == 0 else f" {word}"))
    say(AnswerFinished(id=order.id, reason="stop", completion_tokens=len(words)))
