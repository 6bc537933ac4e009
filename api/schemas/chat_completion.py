"""Answers of models, as callers see them."""

import time
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from flant5_train.serving.messages import Finished, FinishReason, Started


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Usage(_Shown):
    """Tokens of a question and its answer."""

    prompt_tokens: int
    """What the model read, the prompt format and the system text among it."""
    completion_tokens: int
    """What it generated, the token that ends the answer among it."""
    total_tokens: int
    """Both together."""
    truncated_prompt_tokens: int
    """What it did not read: the oldest turns of a conversation that is longer than it was trained
    to read."""

    @classmethod
    def of(cls, started: Started, finished: Finished) -> Self:
        return cls(
            prompt_tokens=started.prompt_tokens,
            completion_tokens=finished.completion_tokens,
            total_tokens=started.prompt_tokens + finished.completion_tokens,
            truncated_prompt_tokens=started.truncated_tokens,
        )


class AnswerMessage(_Shown):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str
    """The answer, without the line end that closes a turn in the prompt format."""
    refusal: None = None
    """Always null."""


class Choice(_Shown):
    """The one answer."""

    index: Literal[0] = 0
    message: AnswerMessage
    """What was said."""
    finish_reason: FinishReason
    """`stop`: the model ended its answer, or a stop sequence came; `length`: it was cut off."""
    logprobs: None = None
    """Always null."""


class ChatCompletion(_Shown):
    """A whole answer."""

    id: str
    """The id of the answer, the same in all chunks."""
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    """When it was begun, in Unix seconds."""
    model: str
    """The model that was asked."""
    choices: tuple[Choice]
    """The one answer."""
    usage: Usage
    """How many tokens it took."""
    system_fingerprint: None = None
    """Always null."""
    service_tier: None = None
    """Always null."""

    @classmethod
    def of(cls, text: str, *, model: str, usage: Usage, end: Finished) -> Self:
        choice = Choice(message=AnswerMessage(content=text), finish_reason=end.reason)
        return cls(id=end.id, created=int(time.time()), model=model, choices=(choice,), usage=usage)


def completion_example(*, model: str, created: int) -> ChatCompletion:
    """As the OpenAPI document shows it."""
    usage = Usage(prompt_tokens=41, completion_tokens=9, total_tokens=50, truncated_prompt_tokens=0)
    end = Finished(id="chatcmpl-x7Yh2Kq9", reason="stop", completion_tokens=9)
    completion = ChatCompletion.of("Hold the button.", model=model, usage=usage, end=end)
    return completion.model_copy(update={"created": created})


class ChunkDelta(_Shown):
    """What is new; the role comes with the first chunk, nothing with the last."""

    role: Literal["assistant"] | None = None
    """Who speaks."""
    content: str | None = None
    """More of the answer: whole characters."""

    @model_serializer(mode="wrap")
    def _what_there_is(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class ChunkChoice(_Shown):
    """More of the one answer."""

    index: Literal[0] = 0
    delta: ChunkDelta
    """What this chunk adds."""
    finish_reason: FinishReason | None = None
    """Why the answer ended, in its last chunk."""
    logprobs: None = None
    """Always null."""


class ChatChunk(_Shown):
    """An event of a stream."""

    id: str
    """The id of the answer, the same in all chunks."""
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    """When it was begun, in Unix seconds."""
    model: str
    """The model that was asked."""
    choices: tuple[ChunkChoice, ...]
    """Empty in the chunk with the usage."""
    usage: Usage | None = None
    """In a chunk of its own at the end, if `stream_options.include_usage` asked for it."""
    system_fingerprint: None = None
    """Always null."""
    service_tier: None = None
    """Always null."""

    @classmethod
    def of(cls, choice: Mapping[str, str], **fields: Any) -> Self:
        """A chunk with these fields of a choice or its delta; without any it has no choice."""
        delta = {name: choice[name] for name in ("role", "content") if name in choice}
        shown = ChunkChoice.model_validate(
            {"delta": delta, "finish_reason": choice.get("finish_reason")}
        )
        return cls(choices=(shown,) if choice else (), **fields)
