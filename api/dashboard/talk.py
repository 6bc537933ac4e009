"""Conversations of the chat page, each with one model and, beside it, its base."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from redis import Redis

from worker.jobs.talks import TalkStore

MODEL, BASE = "model", "base"
"""The two sides."""

_MAX_ROUNDS = 100
_MAX_CHARACTERS = 100_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, or as much of it as there was."""

    text: str = ""
    note: str = ""
    """About the answer, in a few words."""
    error: str = ""
    """Why there is none, or no more of it."""

    @property
    def counts(self) -> bool:
        """Whether it is part of what the model is told next time."""
        return not self.error


LEFT = Said(error="There is no answer: the page was left before it was whole.")


@dataclass(frozen=True, slots=True)
class Round:
    """A question and the answers to it, by side."""

    question: str
    answers: Mapping[str, Said]

    @property
    def num_characters(self) -> int:
        return len(self.question) + sum(len(said.text) for said in self.answers.values())


@dataclass(frozen=True, slots=True)
class Talk:
    """What was said, and how the next question is asked."""

    rounds: tuple[Round, ...] = ()
    system: str = ""
    temperature: float | None = None
    max_tokens: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more is kept; no model reads that much anyway."""
        num_characters = sum(each.num_characters for each in self.rounds)
        return len(self.rounds) >= _MAX_ROUNDS or num_characters > _MAX_CHARACTERS

    def asked(self, question: str, *, sides: tuple[str, ...]) -> "Talk":
        """With a question that has no answers yet."""
        new = Round(question, dict.fromkeys(sides, LEFT))
        return replace(self, rounds=(*self.rounds, new))

    def answered(self, side: str, said: Said) -> "Talk":
        """With the answer of one side to the last question."""
        *before, last = self.rounds
        answers = {**last.answers, side: said}
        return replace(self, rounds=(*before, Round(last.question, answers)))

    def request(self, model: str, *, side: str) -> dict[str, Any]:
        """What `POST /v1/chat/completions` would be sent for the answer of a side to the last
        question. A question before that the side has not answered was never said to it."""
        *before, last = self.rounds
        messages = [{"role": "system", "content": self.system}] if self.system.strip() else []
        for each in before:
            said = each.answers.get(side)
            if said is not None and said.counts:
                messages.append({"role": "user", "content": each.question})
                messages.append({"role": "assistant", "content": said.text})
        messages.append({"role": "user", "content": last.question})
        return {
            "model": model,
            "messages": messages,
            "temperature": self.temperature,
            "max_completion_tokens": self.max_tokens,
        }


_TALK = TypeAdapter(Talk)


class TalkShelf:
    """Conversations of an owner, in the store. Both methods raise StoreUnavailableError."""

    def __init__(self, redis: Redis, *, owner: str) -> None:
        self._talks = TalkStore(redis)
        self._owner = owner

    def get(self, talk_id: str) -> Talk | None:
        """None also for what another version of ours kept in another form."""
        content = self._talks.get(self._owner, talk_id)
        if content is None:
            return None
        try:
            return _TALK.validate_json(content)
        except ValidationError as error:
            _log.warning("conversation %s is not shown: %s", talk_id, error)
            return None

    def keep(self, talk_id: str, talk: Talk) -> None:
        """In place of what it was before."""
        self._talks.keep(self._owner, talk_id, _TALK.dump_json(talk).decode())


def new_talk_id() -> str:
    """Not to be guessed: on a server without keys nothing else keeps talks apart."""
    return secrets.token_urlsafe(12)
