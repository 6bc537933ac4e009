"""The conversation on the chat page: its messages and the input box."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from fastapi.concurrency import run_in_threadpool
from nicegui import context, ui
from nicegui.events import GenericEventArguments

from api.dashboard.chat.answer import AnswerView, answer
from api.dashboard.chat.history import (
    BASE,
    MODEL,
    ChatConversation,
    ChatExchange,
    ConversationCache,
)
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.layout import empty
from worker.jobs.errors import StoreUnavailableError

_ON_ENTER = """(event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  emit(event.target.value);
}"""
_TO_THE_END = "window.scrollTo({top: document.body.scrollHeight, behavior: 'smooth'})"


_log = logging.getLogger(__name__)


class ConversationView:
    """Sends each message to both sides at once. Leaving the page cancels pending answers."""

    def __init__(self, user: SessionUser, cache: ConversationCache) -> None:
        self._user = user
        self._cache = cache
        self._talk_id = ""
        self._conversation = ChatConversation()
        self._sides: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._keeping = asyncio.Lock()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._client = context.client
        self._client.on_delete(self.stop)
        self._rounds = ui.element("div").classes("rounds").props('aria-live="polite"')
        with ui.element("section").classes("card composer"):
            self._input = ui.textarea(placeholder="Ask a question (Enter to send)")
            self._input.props('outlined dense autogrow rows="1" aria-label="Question"')
            self._input.on("keydown", self._on_enter, js_handler=_ON_ENTER)
            self._send = ui.button("Ask", icon="send", on_click=self._on_click)
            self._stop = ui.button("Stop", icon="stop", on_click=self.stop)
            for button in (self._send, self._stop):
                button.props("unelevated no-caps")
        self._show_buttons()

    @property
    def conversation(self) -> ChatConversation:
        return self._conversation

    def begin(self, talk_id: str, conversation: ChatConversation, names: Mapping[str, str]) -> None:
        """Shows a conversation. `names` holds the model of each side; it is empty if deleted."""
        self.stop()
        self._talk_id, self._conversation, self._names = talk_id, conversation, dict(names)
        self._rounds.clear()
        with self._rounds:
            if not conversation.rounds:
                missing = "No messages yet." if names else "Choose a model to chat with."
                empty("forum", missing)
            for each in conversation.rounds:
                views = self._draw(each)
                for side, reply in each.answers.items():
                    views[side].end(reply)

    def address(self, sides: Mapping[str, str]) -> None:
        """Sets the models that receive the next message."""
        self._sides = dict(sides)
        self._show_buttons()

    async def change(self, conversation: ChatConversation) -> None:
        """Replaces the conversation, with new settings, and saves it."""
        self._conversation = conversation
        await self._keep()

    def stop(self) -> None:
        """Cancels the pending answers."""
        for task in self._tasks:
            task.cancel()

    async def _on_enter(self, event: GenericEventArguments) -> None:
        await self._ask(str(event.args))

    async def _on_click(self) -> None:
        await self._ask(self._input.value or "")

    async def _ask(self, question: str) -> None:
        if self._tasks or not self._sides or not question.strip():
            return
        if self._conversation.is_full:
            ui.notify("This conversation is full. Start a new one.", type="warning")
            return
        if not self._conversation.rounds:
            self._rounds.clear()
        self._input.set_value("")
        self._conversation = self._conversation.asked(question, sides=tuple(self._sides))
        with self._rounds:
            views = self._draw(self._conversation.rounds[-1])
        ui.run_javascript(_TO_THE_END)
        talk_id = self._talk_id
        tasks = await self._run(views)
        # A page that was left meanwhile must not overwrite the conversation of the next one.
        if not self._client.is_deleted and talk_id == self._talk_id:
            await self._end(views, tasks)

    async def _run(self, views: Mapping[str, AnswerView]) -> dict[str, asyncio.Task[None]]:
        """Runs the requests of all sides; returns their finished tasks."""
        tasks = {
            side: asyncio.create_task(view.follow(answer(self._user, self._request(side))))
            for side, view in views.items()
        }
        self._tasks = tuple(tasks.values())
        self._show_buttons()
        try:
            await self._keep()  # without this, a reload would lose the question
            await asyncio.wait(self._tasks)
        finally:
            self.stop()
            self._tasks = ()
            self._show_buttons()
        return tasks

    async def _end(
        self, views: Mapping[str, AnswerView], tasks: Mapping[str, asyncio.Task[None]]
    ) -> None:
        for side, view in views.items():
            if tasks[side].cancelled():
                view.stop()
            self._conversation = self._conversation.answered(side, view.reply)
        await self._keep()
        ui.run_javascript(_TO_THE_END)
        for task in tasks.values():
            if not task.cancelled():
                task.result()  # raises unexpected errors

    def _request(self, side: str) -> dict[str, Any]:
        return self._conversation.request(self._sides[side], side=side)

    def _draw(self, each: ChatExchange) -> dict[str, AnswerView]:
        """Draws a question and an empty answer for each side."""
        with ui.element("section").classes("round"):
            ui.label(each.question).classes("asked wrap")
            sides = [side for side in (MODEL, BASE) if side in each.answers]
            with ui.element("div").classes("both" if len(sides) == 2 else "alone"):
                return {side: AnswerView(self._names.get(side, side)) for side in sides}

    async def _keep(self) -> None:
        """Saves the current conversation. The lock keeps saves in order: the newest is last."""
        async with self._keeping:
            talk_id, conversation = self._talk_id, self._conversation
            try:
                await run_in_threadpool(self._cache.keep, talk_id, conversation)
            except StoreUnavailableError as error:
                _log.warning("chat: cannot save conversation: %s", error)
                if not self._client.is_deleted:
                    ui.notify("Conversation not saved: Redis is unavailable.", type="warning")

    def _show_buttons(self) -> None:
        self._send.set_visibility(not self._tasks)
        self._stop.set_visibility(bool(self._tasks))
        self._send.set_enabled(bool(self._sides))
