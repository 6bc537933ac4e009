"""One model answer on the chat page: its request, and the view of its text.

Requests use the same functions as `POST /v1/chat/completions`. The view shows the streamed text, a
status note and the error.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from pydantic import ValidationError

from api.dashboard.chat.history import ChatReply
from api.dashboard.ui.auth import NotAllowedError, SessionEndedError, SessionUser
from api.dashboard.ui.format import number
from api.dashboard.ui.layout import record_audit_event
from api.http.errors import (
    ChatFailedError,
    ChatTimeoutError,
    NoServerError,
    ServerLostError,
    error_of,
)
from api.http.validation import format_validation_error
from api.schemas.chat import CreateChatCompletion
from flant5_train.protocol.inference import AnswerFinished, AnswerStarted, Refused, TextDelta
from worker.jobs.errors import InvalidRequestError, JobsError

Pieces = AsyncGenerator[AnswerStarted | TextDelta | AnswerFinished]

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


async def answer(user: SessionUser, request: Mapping[str, Any]) -> Pieces:
    """Yields the pieces of the answer. Closing the generator cancels it. Raises NO_ANSWER."""
    body = _body(request)
    await run_in_threadpool(_admit, user, body.model)
    async with aclosing(user.services.chats.ask(body.question())) as pieces:
        async for piece in pieces:
            if isinstance(piece, Refused):
                raise error_of(piece)
            if piece is not None:
                yield piece


def _body(request: Mapping[str, Any]) -> CreateChatCompletion:
    try:
        return CreateChatCompletion.model_validate(request)
    except ValidationError as error:
        message, field = format_validation_error(error, model=CreateChatCompletion)
        raise InvalidRequestError(message, param=field) from error


def _admit(user: SessionUser, model: str) -> None:
    """Raises NotFoundError for missing models and for those of other owners."""
    caller = user.changing()
    user.services.models.resolve(model, owner=caller.owner_filter)
    record_audit_event("POST /v1/chat/completions", model, caller=caller, services=user.services)


_BUG = "Internal server error. See the server log for details."


class AnswerView:
    """Shows answers as plain text. Markup in them is never rendered."""

    def __init__(self, title: str) -> None:
        self.reply = ChatReply()
        with ui.element("article").classes("reply"):
            ui.label(title).classes("quiet one-line reply-by")
            self._text = ui.label().classes("reply-text wrap")
            self._waiting = ui.spinner("dots", size="24px")
            self._note = ui.label().classes("quiet")
            with ui.row().classes("verdict bad").props('role="alert"') as self._trouble:
                ui.icon("error")
                self._error = ui.label().classes("wrap")
        self._show(self.reply, is_coming=True)

    def end(self, reply: ChatReply) -> None:
        """Shows the final answer."""
        self._show(reply, is_coming=False)

    def stop(self) -> None:
        """Marks the answer as stopped by the user."""
        self.end(replace(self.reply, note="stopped"))

    async def follow(self, pieces: Pieces) -> None:
        """Shows the answer as it streams in, or an error. Cancelling this cancels the request."""
        try:
            async with aclosing(pieces):
                await self._follow(pieces)
        except NO_ANSWER as error:
            self.end(replace(self.reply, error=str(error)))
        except Exception:
            self.end(replace(self.reply, error=_BUG))
            raise

    async def _follow(self, pieces: Pieces) -> None:
        left_out = ""
        async for piece in pieces:
            if isinstance(piece, AnswerStarted) and piece.truncated_tokens:
                left_out = f" · the oldest {number(piece.truncated_tokens)} tokens were dropped"
            elif isinstance(piece, TextDelta):
                self._show(replace(self.reply, text=self.reply.text + piece.text), is_coming=True)
            elif isinstance(piece, AnswerFinished):
                self.end(replace(self.reply, note=_length(piece) + left_out))

    def _show(self, reply: ChatReply, *, is_coming: bool) -> None:
        self.reply = reply
        self._text.set_text(reply.text)
        self._note.set_text(reply.note)
        self._error.set_text(reply.error)
        self._text.set_visibility(bool(reply.text))
        self._waiting.set_visibility(is_coming)
        self._note.set_visibility(bool(reply.note))
        self._trouble.set_visibility(bool(reply.error))


def _length(finished: AnswerFinished) -> str:
    cut = " (length limit reached)" if finished.reason == "length" else ""
    unit = "token" if finished.completion_tokens == 1 else "tokens"
    return f"{number(finished.completion_tokens)} {unit}{cut}"
