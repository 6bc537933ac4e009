"""Chat page at `/chat?model=...`, with an optional side-by-side base model.

It also lists the models available for chat, and finds their base models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from api.dashboard.chat.conversation import ConversationView
from api.dashboard.chat.history import (
    BASE,
    MODEL,
    ChatConversation,
    ConversationCache,
    new_conversation_id,
)
from api.dashboard.jobs.rows import name_of, recent_jobs
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.layout import heading, page_layout, replace_address, run_with_error_toast
from api.schemas.history import CheckpointObject
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job

_MAX_MODELS = 200
_MAX_JOBS = 30
_MAX_CHECKPOINTS = 10


def models_to_ask(user: SessionUser) -> dict[str, str]:
    """Returns ids and names of fine-tuned models, base models, and recent jobs' checkpoints."""
    services, owner = user.services, user.caller.owner_filter
    names = {model.id: model.id for model in islice(services.models.list(owner=owner), _MAX_MODELS)}
    for job in recent_jobs(user, limit=_MAX_JOBS):
        names |= _checkpoints(user, job)
    return names


def _checkpoints(user: SessionUser, job: Job) -> dict[str, str]:
    page = user.services.history.checkpoints(job.id, limit=_MAX_CHECKPOINTS)
    found = {}
    for checkpoint in page.items:
        model = CheckpointObject.of(checkpoint, job=job).fine_tuned_model_checkpoint
        try:
            user.services.models.resolve(model)
        except NotFoundError:
            continue  # deleted by checkpoint rotation
        found[model] = f"{name_of(job)}, checkpoint at step {checkpoint.step} · {model}"
    return found


def base_of(user: SessionUser, model: str) -> str | None:
    """Returns the base of a fine-tuned model or checkpoint; None for any other model.

    Raises NotFoundError for missing models and for those of other owners.
    """
    user.services.models.resolve(model, owner=user.caller.owner_filter)
    if not model.startswith("ft:"):
        return None
    name, _, _ = model.partition(":ckpt-step-")
    return user.job(user.services.store.models.job_of_name(name)).spec.model


_MAX_SYSTEM_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A stored or new conversation, with the shelf that holds it."""

    cache: ConversationCache
    conversation_id: str
    conversation: ChatConversation


def opened_conversation(request: Request) -> Opened:
    """Returns the visitor's conversation named in the address, or a new one.

    Raises StoreUnavailableError, SessionEndedError.
    """
    user = SessionUser.of(request)
    cache = ConversationCache(user.services.redis, owner=user.caller.owner)
    talk_id = request.query_params.get("talk", "")
    conversation = cache.get(talk_id)
    return (
        Opened(cache, new_conversation_id(), ChatConversation())
        if conversation is None
        else Opened(cache, talk_id, conversation)
    )


def chat_page(request: Request, opened: Opened) -> None:
    """Builds the page. Its address holds the model, the base switch and the conversation."""
    with page_layout(request, "Chat", here="/chat"):
        _ChatPage(SessionUser.of(request), opened, request.query_params)


@dataclass(frozen=True, slots=True)
class _ModelChoice:
    """A model and its base model, if any."""

    model: str
    base: str | None

    def names(self) -> dict[str, str]:
        """Returns the display name of each side."""
        return {MODEL: self.model, BASE: f"{self.base or 'none'} (its base)"}

    def sides(self, *, with_base: bool) -> dict[str, str]:
        """Returns the model of each side that receives messages."""
        base = {BASE: self.base} if self.base and with_base else {}
        return {MODEL: self.model, **base}


class _ChatPage:
    def __init__(self, user: SessionUser, opened: Opened, query: Mapping[str, str]) -> None:
        self._user = user
        self._chosen: _ModelChoice | None = None
        self._wanted = query.get("model", "")
        self._with_base = query.get("base") != "off"
        self._talk_id, conversation = opened.conversation_id, opened.conversation
        with ui.element("section").classes("card"):
            self._head()
            self._settings(conversation)
        self._conversation = ConversationView(user, opened.cache)
        self._conversation.begin(self._talk_id, ChatConversation(), {})
        ui.timer(0, lambda: self._load(conversation), once=True)

    def _head(self) -> None:
        with ui.row().classes("spread"):
            heading("Chat")
            ui.space()
            again = ui.button("New conversation", icon="restart_alt", on_click=self._again)
            again.props("outline dense no-caps")
        with ui.row().classes("spread chosen"):
            self._select = ui.select(
                [self._wanted] if self._wanted else [],
                label="Model",
                value=self._wanted or None,
                with_input=True,
                new_value_mode="add-unique",
                on_change=lambda event: self._choose(event.value or ""),
            ).props('outlined dense aria-label="Model"')
            self._switch = ui.switch("Compare with base model", value=self._with_base)
            self._switch.on_value_change(lambda event: self._turn_base(bool(event.value)))
            self._switch.set_visibility(False)
        if not self._user.may_change:
            ui.label("Your API key is read-only. It cannot send messages.").classes("quiet")

    def _settings(self, conversation: ChatConversation) -> None:
        more = ui.expansion("System message, temperature, length", icon="tune").props("dense")
        with more, ui.element("div").classes("fields"):
            system = ui.textarea(
                "System message",
                value=conversation.system,
                on_change=lambda event: self._change(system=str(event.value or "")),
            )
            system.props(f'debounce=300 maxlength={_MAX_SYSTEM_CHARACTERS} rows="2" autogrow')
            system.props('hint="replaces the prompt\'s first sentence from the next message on"')
            heat = ui.number(
                "Temperature",
                value=conversation.temperature,
                on_change=lambda event: self._change(temperature=event.value),
            ).props('debounce=300 step=any hint="0 to 2; default: 0, greedy decoding"')
            length = ui.number(
                "Max tokens",
                value=conversation.max_tokens,
                on_change=lambda event: self._change(max_tokens=_whole(event.value)),
            ).props('debounce=300 step=1 hint="default: as in training"')
            for field, name in ((system, "System"), (heat, "Temperature"), (length, "Tokens")):
                field.props(f'outlined dense aria-label="{name}"')

    async def _load(self, conversation: ChatConversation) -> None:
        if self._wanted:
            await self._show(self._wanted, self._talk_id, conversation)
        names = await run_with_error_toast(lambda: models_to_ask(self._user), done="")
        if names is not None:
            chosen = {self._wanted: self._wanted} if self._wanted else {}
            self._select.set_options(chosen | names, value=self._wanted or None)

    async def _choose(self, model: str) -> None:
        if model != self._wanted:
            self._wanted = model
            await self._again()

    async def _again(self) -> None:
        """Starts a new conversation with the same settings."""
        conversation = replace(self._conversation.conversation, rounds=())
        if self._wanted:
            await self._show(self._wanted, new_conversation_id(), conversation)

    async def _show(self, model: str, talk_id: str, conversation: ChatConversation) -> None:
        found = await run_with_error_toast(
            lambda: _ModelChoice(model, base_of(self._user, model)), done=""
        )
        self._chosen, self._talk_id = found, talk_id
        self._conversation.begin(talk_id, conversation, found.names() if found else {})
        base = found.base if found else None
        self._switch.set_text(f"Compare with base model {base}")
        self._switch.set_visibility(base is not None)
        self._turn_base(self._with_base)

    def _turn_base(self, with_base: bool) -> None:
        self._with_base = with_base
        chosen = self._chosen
        may_ask = chosen is not None and self._user.may_change
        self._conversation.address(chosen.sides(with_base=with_base) if chosen and may_ask else {})
        query = {"model": self._wanted} | ({} if with_base else {"base": "off"})
        replace_address(f"/chat?{urlencode(query | {'talk': self._talk_id})}")

    async def _change(self, **how: str | float | None) -> None:
        await self._conversation.change(replace(self._conversation.conversation, **how))  # type: ignore[arg-type]


def _whole(number: float | None) -> float | None:
    """Returns integral floats as int. Other values are rejected with the next message."""
    return int(number) if number is not None and float(number).is_integer() else number
