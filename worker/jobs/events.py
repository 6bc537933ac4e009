"""API models of a job's history: events, log lines, checkpoints, and pages of them."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

Item = TypeVar("Item")


class Event(BaseModel):
    """An event of a job. Events are ordered and never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Cursor: the id of the stream entry, `<milliseconds>-<number>`."""
    seq: int
    """1, 2, 3, ... within the job: a gap shows a client that it missed an event."""
    created_at: float
    level: Literal["info", "warn", "error"]
    type: Literal["message", "metrics"]
    message: str
    data: dict[str, JsonValue]


class LogLine(BaseModel):
    """One line of the trainer's output."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Cursor: the id of the stream entry."""
    seq: int
    created_at: float
    stream: Literal["stdout", "stderr"]
    line: str


class Checkpoint(BaseModel):
    """A complete checkpoint of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Cursor: the id of the stream entry."""
    created_at: float
    step: int
    path: str
    """Directory, relative to the run directory."""
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list; the next page begins after the last item's id."""

    items: tuple[Item, ...]
    has_more: bool
