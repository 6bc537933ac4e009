"""Sends chat requests from pages, by the same functions as `POST /v1/chat/completions`."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from api.chat.errors import (
    ChatFailedError,
    ChatTimeoutError,
    NoServerError,
    ServerLostError,
    error_of,
)
from api.dashboard.notes import note
from api.dashboard.visitor import NotAllowedError, SessionEndedError, Visitor
from api.http.validation import explain
from api.schemas.chat import CreateChatCompletion
from flant5_train.protocol.inference import Delta, Finished, Refused, Started
from worker.jobs.errors import InvalidRequestError, JobsError

Pieces = AsyncGenerator[Started | Delta | Finished]

NO_ANSWER = (
    JobsError,
    NotAllowedError,
    SessionEndedError,
    NoServerError,
    ServerLostError,
    ChatTimeoutError,
    ChatFailedError,
)
"""Errors that end an answer. Their messages are shown to the visitor."""


async def answer(visitor: Visitor, request: Mapping[str, Any]) -> Pieces:
    """Yields the pieces of the answer. Closing the generator cancels it. Raises NO_ANSWER."""
    body = _body(request)
    await run_in_threadpool(_admit, visitor, body.model)
    async with aclosing(visitor.services.chats.ask(body.question())) as pieces:
        async for piece in pieces:
            if isinstance(piece, Refused):
                raise error_of(piece)
            if piece is not None:
                yield piece


def _body(request: Mapping[str, Any]) -> CreateChatCompletion:
    try:
        return CreateChatCompletion.model_validate(request)
    except ValidationError as error:
        message, field = explain(error, model=CreateChatCompletion)
        raise InvalidRequestError(message, param=field) from error


def _admit(visitor: Visitor, model: str) -> None:
    """Raises NotFoundError for missing models and for those of other owners."""
    caller = visitor.changing()
    visitor.services.models.resolve(model, owner=caller.limited_to)
    note("POST /v1/chat/completions", model, caller=caller, services=visitor.services)
