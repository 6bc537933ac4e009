"""Schemas of chat completion responses."""

import time
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from flant5_train.protocol.inference import AnswerFinished, AnswerStarted, FinishReason


class _ChatResponse(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Usage(_ChatResponse):
    """Token counts of a chat completion."""

    prompt_tokens: int
    """Tokens that the model read, including the prompt format and the system message."""
    completion_tokens: int
    """Tokens that the model generated, including the end token."""
    total_tokens: int
    """Sum of both."""
    truncated_prompt_tokens: int
    """Tokens that the model did not read. If a conversation exceeds the training limit, its oldest
    turns are cut."""

    @classmethod
    def of(cls, started: AnswerStarted, finished: AnswerFinished) -> Self:
        return cls(
            prompt_tokens=started.prompt_tokens,
            completion_tokens=finished.completion_tokens,
            total_tokens=started.prompt_tokens + finished.completion_tokens,
            truncated_prompt_tokens=started.truncated_tokens,
        )


class AnswerMessage(_ChatResponse):
    """The model's message."""

    role: Literal["assistant"] = "assistant"
    content: str
    """The answer, without the newline that ends a turn in the prompt format."""
    refusal: None = None
    """Always null."""


class Choice(_ChatResponse):
    """The answer. There is always one."""

    index: Literal[0] = 0
    message: AnswerMessage
    """The answer's message."""
    finish_reason: FinishReason
    """`stop`: the model ended its answer, or generated a stop sequence. `length`: the answer was
    cut off."""
    logprobs: None = None
    """Always null."""


class ChatCompletion(_ChatResponse):
    """A complete answer."""

    id: str
    """The id of the answer, the same in all chunks."""
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    """Start of the answer, in Unix seconds."""
    model: str
    """The requested model."""
    choices: tuple[Choice]
    """The answer."""
    usage: Usage
    """Token counts."""
    system_fingerprint: None = None
    """Always null."""
    service_tier: None = None
    """Always null."""

    @classmethod
    def of(cls, text: str, *, model: str, usage: Usage, end: AnswerFinished) -> Self:
        choice = Choice(message=AnswerMessage(content=text), finish_reason=end.reason)
        return cls(id=end.id, created=int(time.time()), model=model, choices=(choice,), usage=usage)


def completion_example(*, model: str, created: int) -> ChatCompletion:
    """Returns the example for the OpenAPI document."""
    usage = Usage(prompt_tokens=41, completion_tokens=9, total_tokens=50, truncated_prompt_tokens=0)
    end = AnswerFinished(id="chatcmpl-x7Yh2Kq9", reason="stop", completion_tokens=9)
    completion = ChatCompletion.of("Hold the button.", model=model, usage=usage, end=end)
    return completion.model_copy(update={"created": created})


class ChunkDelta(_ChatResponse):
    """New content. The first chunk has the role, the last one nothing."""

    role: Literal["assistant"] | None = None
    """Role of the message."""
    content: str | None = None
    """More of the answer, in whole characters."""

    @model_serializer(mode="wrap")
    def _what_there_is(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class ChunkChoice(_ChatResponse):
    """The next piece of the answer."""

    index: Literal[0] = 0
    delta: ChunkDelta
    """New content of this chunk."""
    finish_reason: FinishReason | None = None
    """Reason for the end of the answer, in its last chunk."""
    logprobs: None = None
    """Always null."""


class ChatChunk(_ChatResponse):
    """An event of a streamed chat completion."""

    id: str
    """The id of the answer, the same in all chunks."""
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    """Start of the answer, in Unix seconds."""
    model: str
    """The requested model."""
    choices: tuple[ChunkChoice, ...]
    """Empty in the usage chunk."""
    usage: Usage | None = None
    """Token counts, in a separate last chunk if `stream_options.include_usage` is set."""
    system_fingerprint: None = None
    """Always null."""
    service_tier: None = None
    """Always null."""

    @classmethod
    def of(cls, choice: Mapping[str, str], **fields: Any) -> Self:
        """Returns a chunk with these fields of a choice or its delta. Without fields, it has no
        choice."""
        delta = {name: choice[name] for name in ("role", "content") if name in choice}
        shown = ChunkChoice.model_validate(
            {"delta": delta, "finish_reason": choice.get("finish_reason")}
        )
        return cls(choices=(shown,) if choice else (), **fields)
