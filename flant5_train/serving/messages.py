"""What is said to the program that answers, and what it says: a JSON object a line.

    {"type": "ask", "id": "chatcmpl-1", "question": {"model": "/models/my-t5", "turns": [...], ...}}
    {"type": "cancel", "id": "chatcmpl-1"}

    {"type": "started", "id": "chatcmpl-1", "prompt_tokens": 41, "truncated_tokens": 0}
    {"type": "delta", "id": "chatcmpl-1", "text": "Hello"}
    {"type": "finished", "id": "chatcmpl-1", "reason": "stop", "completion_tokens": 3}
    {"type": "refused", "id": "chatcmpl-1", "kind": "invalid", "message": "...", "param": "model"}

To each question: `refused`, or `started` and deltas and then `finished` or `refused`. Nothing is
said of a question that was cancelled. Neither torch nor transformers is imported here.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FinishReason: TypeAlias = Literal["stop", "length"]
RefusalKind: TypeAlias = Literal["invalid", "not_found", "too_long", "unavailable", "failed"]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class AskedTurn(_Said):
    """What one speaker said."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class Question(_Said):
    """A conversation whose next answer is wanted, and how it is to be chosen."""

    model: str
    turns: tuple[AskedTurn, ...] = Field(min_length=1)
    """System turns first if at all, the user last; neighbours of one role are joined."""
    max_new_tokens: int | None = Field(None, ge=1)
    """None: as many as the model's own configuration says."""
    temperature: float = Field(0.0, ge=0)
    """0 takes the likeliest token."""
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = None
    """The same seed, the same answer, whoever else is answered at the same time."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these."""


class Ask(_Said):
    type: Literal["ask"] = "ask"
    id: str
    question: Question


class Cancel(_Said):
    type: Literal["cancel"] = "cancel"
    id: str


class Started(_Said):
    """The question is read, the answer begins."""

    type: Literal["started"] = "started"
    id: str
    prompt_tokens: int
    """Tokens that the encoder reads."""
    truncated_tokens: int
    """Tokens of the oldest turns that were left out, because the model's limit was reached."""


class Delta(_Said):
    """More of the answer: whole characters, and never to be changed."""

    type: Literal["delta"] = "delta"
    id: str
    text: str


class Finished(_Said):
    """The whole answer was said."""

    type: Literal["finished"] = "finished"
    id: str
    reason: FinishReason
    completion_tokens: int
    """Tokens that were generated, the one that ends the answer among them."""


class Refused(_Said):
    """There is no answer, or no more of it."""

    type: Literal["refused"] = "refused"
    id: str
    kind: RefusalKind
    message: str
    param: str | None = None
    """The field of the request at fault."""


Order: TypeAlias = Ask | Cancel
Piece: TypeAlias = Started | Delta | Finished | Refused

_orders: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="type")])
_pieces: TypeAdapter[Piece] = TypeAdapter(Annotated[Piece, Field(discriminator="type")])


def parse_order(line: str | bytes) -> Order:
    """Raises pydantic's ValidationError."""
    return _orders.validate_json(line)


def parse_piece(line: str | bytes) -> Piece:
    """Raises pydantic's ValidationError."""
    return _pieces.validate_json(line)
