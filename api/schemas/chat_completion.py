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
    refusal: None = None


class Choice(_Shown):
    """The one answer."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: FinishReason
    """`stop`: the model ended its answer, or a stop sequence came; `length`: it was cut off."""
    logprobs: None = None


class ChatCompletion(_Shown):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice]
    usage: Usage
    system_fingerprint: None = None
    service_tier: None = None

    @classmethod
    def of(cls, text: str, *, model: str, usage: Usage, end: Finished) -> Self:
        choice = Choice(message=AnswerMessage(content=text), finish_reason=end.reason)
        return cls(id=end.id, created=int(time.time()), model=model, choices=(choice,), usage=usage)


class ChunkDelta(_Shown):
    """What is new; the role comes with the first chunk, nothing with the last."""

    role: Literal["assistant"] | None = None
    content: str | None = None

    @model_serializer(mode="wrap")
    def _what_there_is(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class ChunkChoice(_Shown):
    """More of the one answer."""

    index: Literal[0] = 0
    delta: ChunkDelta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class ChatChunk(_Shown):
    """An event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    """Empty in the chunk with the usage."""
    usage: Usage | None = None
    system_fingerprint: None = None
    service_tier: None = None

    @classmethod
    def of(cls, choice: Mapping[str, str], **fields: Any) -> Self:
        """A chunk with these fields of a choice or its delta; without any it has no choice."""
        delta = {name: choice[name] for name in ("role", "content") if name in choice}
        shown = ChunkChoice.model_validate(
            {"delta": delta, "finish_reason": choice.get("finish_reason")}
        )
        return cls(choices=(shown,) if choice else (), **fields)
