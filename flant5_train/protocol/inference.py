"""Protocol of the inference process: one JSON object per line, for requests and responses.

    {"type": "ask", "id": "chatcmpl-1", "question": {"model": "/models/my-t5", "turns": [...], ...}}
    {"type": "cancel", "id": "chatcmpl-1"}

    {"type": "started", "id": "chatcmpl-1", "prompt_tokens": 41, "truncated_tokens": 0}
    {"type": "delta", "id": "chatcmpl-1", "text": "Hello"}
    {"type": "finished", "id": "chatcmpl-1", "reason": "stop", "completion_tokens": 3}
    {"type": "refused", "id": "chatcmpl-1", "kind": "invalid", "message": "...", "param": "model"}

The responses to a question are `refused`, or `started`, deltas, and then `finished` or `refused`. A
cancelled question gets no further response. This module imports neither torch nor transformers.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FinishReason: TypeAlias = Literal["stop", "length"]
RefusalKind: TypeAlias = Literal["invalid", "not_found", "too_long", "unavailable", "failed"]


class _InferenceMessage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class AskedTurn(_InferenceMessage):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class ChatPrompt(_InferenceMessage):
    """Conversation to answer, and the sampling parameters."""

    model: str
    turns: tuple[AskedTurn, ...] = Field(min_length=1)
    """System turns, if any, come first; the last turn is the user's. Adjacent turns of one role are
    joined."""
    max_new_tokens: int | None = Field(None, ge=1)
    """Limit of the answer; None uses the limit in the model's configuration."""
    temperature: float = Field(0.0, ge=0)
    """0 takes the most likely token."""
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = None
    """The same seed gives the same answer, whatever else is in the batch."""
    stop: tuple[str, ...] = ()
    """Stop sequences: the answer ends before the first occurrence of any."""


class GenerateRequest(_InferenceMessage):
    type: Literal["ask"] = "ask"
    id: str
    question: ChatPrompt


class CancelRequest(_InferenceMessage):
    type: Literal["cancel"] = "cancel"
    id: str


class AnswerStarted(_InferenceMessage):
    """The prompt was read, and generation starts."""

    type: Literal["started"] = "started"
    id: str
    prompt_tokens: int
    """Tokens that the encoder reads."""
    truncated_tokens: int
    """Tokens of the oldest turns that were dropped to fit the model's limit."""


class TextDelta(_InferenceMessage):
    """The next part of the answer: complete characters, final."""

    type: Literal["delta"] = "delta"
    id: str
    text: str


class AnswerFinished(_InferenceMessage):
    """The answer is complete."""

    type: Literal["finished"] = "finished"
    id: str
    reason: FinishReason
    completion_tokens: int
    """Generated tokens, including the end token."""


class Refused(_InferenceMessage):
    """The question failed before its answer or during it."""

    type: Literal["refused"] = "refused"
    id: str
    kind: RefusalKind
    message: str
    param: str | None = None
    """The invalid field of the request."""


Order: TypeAlias = GenerateRequest | CancelRequest
StreamEvent: TypeAlias = AnswerStarted | TextDelta | AnswerFinished | Refused

_orders: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="type")])
_pieces: TypeAdapter[StreamEvent] = TypeAdapter(Annotated[StreamEvent, Field(discriminator="type")])


def parse_order(line: str | bytes) -> Order:
    """Parses a request. Raises pydantic's ValidationError."""
    return _orders.validate_json(line)


def parse_event(line: str | bytes) -> StreamEvent:
    """Parses a response. Raises pydantic's ValidationError."""
    return _pieces.validate_json(line)
