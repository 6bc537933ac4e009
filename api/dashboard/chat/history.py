"""Conversations of the chat page, each with one model and, beside it, its base."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from redis import Redis

from worker.jobs.store.inference import ConversationStore

MODEL, BASE = "model", "base"
"""The two sides."""

_MAX_ROUNDS = 100
_MAX_CHARACTERS = 100_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A complete or partial answer."""

    text: str = ""
    note: str = ""
    """Short status, such as the number of tokens."""
    error: str = ""
    """Error that ended the answer, or ''."""

    @property
    def counts(self) -> bool:
        """True if later requests include this answer."""
        return not self.error


LEFT = ChatReply(error="No answer: the page was closed before it was complete.")


@dataclass(frozen=True, slots=True)
class ChatExchange:
    """A question and its answers, by side."""

    question: str
    answers: Mapping[str, ChatReply]

    @property
    def num_characters(self) -> int:
        return len(self.question) + sum(len(reply.text) for reply in self.answers.values())


@dataclass(frozen=True, slots=True)
class ChatConversation:
    """A conversation, with the settings for the next question."""

    rounds: tuple[ChatExchange, ...] = ()
    system: str = ""
    temperature: float | None = None
    max_tokens: int | None = None

    @property
    def is_full(self) -> bool:
        """True at the size limit, which is beyond what any model reads."""
        num_characters = sum(each.num_characters for each in self.rounds)
        return len(self.rounds) >= _MAX_ROUNDS or num_characters > _MAX_CHARACTERS

    def asked(self, question: str, *, sides: tuple[str, ...]) -> "ChatConversation":
        """Returns the conversation with a new, unanswered question."""
        new = ChatExchange(question, dict.fromkeys(sides, LEFT))
        return replace(self, rounds=(*self.rounds, new))

    def answered(self, side: str, reply: ChatReply) -> "ChatConversation":
        """Returns the conversation with one side's answer to the last question."""
        *before, last = self.rounds
        answers = {**last.answers, side: reply}
        return replace(self, rounds=(*before, ChatExchange(last.question, answers)))

    def request(self, model: str, *, side: str) -> dict[str, Any]:
        """Returns the body for `POST /v1/chat/completions` with one side's last question.

        Earlier questions that this side has not answered are left out.
        """
        *before, last = self.rounds
        messages = [{"role": "system", "content": self.system}] if self.system.strip() else []
        for each in before:
            reply = each.answers.get(side)
            if reply is not None and reply.counts:
                messages.append({"role": "user", "content": each.question})
                messages.append({"role": "assistant", "content": reply.text})
        messages.append({"role": "user", "content": last.question})
        return {
            "model": model,
            "messages": messages,
            "temperature": self.temperature,
            "max_completion_tokens": self.max_tokens,
        }


_TALK = TypeAdapter(ChatConversation)


class ConversationCache:
    """Stored conversations of one owner. Both methods raise StoreUnavailableError."""

    def __init__(self, redis: Redis, *, owner: str) -> None:
        self._talks = ConversationStore(redis)
        self._owner = owner

    def get(self, talk_id: str) -> ChatConversation | None:
        """Returns None if it is missing, or in an incompatible format of another version."""
        content = self._talks.get(self._owner, talk_id)
        if content is None:
            return None
        try:
            return _TALK.validate_json(content)
        except ValidationError as error:
            _log.warning("chat: cannot load conversation %s: %s", talk_id, error)
            return None

    def keep(self, talk_id: str, conversation: ChatConversation) -> None:
        """Saves the conversation, replacing its previous version."""
        self._talks.keep(self._owner, talk_id, _TALK.dump_json(conversation).decode())


def new_conversation_id() -> str:
    """Returns an unguessable id. Without API keys, only this keeps conversations private."""
    return secrets.token_urlsafe(12)
