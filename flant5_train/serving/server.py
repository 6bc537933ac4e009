"""Inference engine: answers pending requests, one model at a time.

New requests for the same model join the running batch. The encoder input of a conversation is made
by the functions that make training pairs.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from flant5_train.data.conversations import parse_conversation
from flant5_train.data.encoding import Ids, Lengths, TextEncoder, encode_batch
from flant5_train.data.errors import DataError, SourceLocation
from flant5_train.data.prompt import render_prompt
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.inference import (
    AnswerStarted,
    AskedTurn,
    GenerateRequest,
    RefusalKind,
    Refused,
    StreamEvent,
    TextDelta,
)
from flant5_train.protocol.turns import Conversation, Role, Turn
from flant5_train.serving.detokenizer import AnswerDetokenizer, detokenizer_for
from flant5_train.serving.generation import GeneratedSequence, Sampler, Send, answer
from flant5_train.serving.model_cache import LoadedModel, ModelCache, ModelTooLargeError
from flant5_train.serving.request_queue import RequestQueue

_SOME_ANSWER = Turn(Role.GPT, "-")
"""Placeholder for the answer: without it the last turn would not become a question."""


class QuestionTooLongError(Exception):
    """The system message and the last turn exceed the model's limit, even without older turns."""


@dataclass(frozen=True, slots=True)
class Source:
    """Encoder input [S], and the number of tokens dropped from the conversation."""

    ids: Ids
    num_left_out: int


def conversation_of(turns: Sequence[AskedTurn]) -> Conversation:
    """Returns the conversation. Raises DataError if the turns are invalid."""
    messages = [turn.model_dump() for turn in turns]
    return parse_conversation({"messages": messages}, location=SourceLocation("request", 1))


def source_of(conversation: Conversation, encoder: TextEncoder, *, max_tokens: int) -> Source:
    """Returns the source that the next answer would have as a training pair.

    If the history is too long, its oldest turns are dropped, but never the header. Raises
    QuestionTooLongError if the header and the last turn alone are too long.
    """
    whole = Conversation((*conversation.turns, _SOME_ANSWER))
    encoded = encode_batch([whole], encoder)
    span = encoded.spans[-1]
    source = encoder.cut(encoded.tokens, span, Lengths(max_tokens, 1)).source
    # The length without any limit.
    num_tokens = len(encoder.cut(encoded.tokens, span, Lengths(len(encoded.tokens) + 2, 1)).source)
    if num_tokens > len(source):
        _refuse_cut_question(whole, encoder, max_tokens=max_tokens)
    return Source(source, num_tokens - len(source))


def _refuse_cut_question(whole: Conversation, encoder: TextEncoder, *, max_tokens: int) -> None:
    segments = render_prompt(whole).segments
    header, last = encoder.encode([segments[0].text, segments[-2].text])
    needed = len(header) + len(last) + 2
    if needed > max_tokens:
        raise QuestionTooLongError(
            f"the system message and the last message have {needed} tokens; the model reads at "
            f"most {max_tokens}"
        )


MAX_BATCH_TOKENS = 16_384
"""Limit of a batch's source tokens, including padding. It bounds the memory of a batch: the decoder
keeps their keys and values in every layer."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Limits of a batch and of one answer."""

    max_rows: int = 8
    """Maximum number of concurrent answers."""
    max_answer_tokens: int = 2048


class InferenceEngine:
    """Main loop of the inference process."""

    def __init__(
        self, cache: ModelCache, requests: RequestQueue, *, limits: EngineLimits, send: Send
    ) -> None:
        self._cache = cache
        self._requests = requests
        self._limits = limits
        self._send = send

    def run(self) -> None:
        """Answers requests until the inbox is closed."""
        max_rows = self._limits.max_rows
        while asks := self._requests.next_batch(max_rows, when_idle=self._drop_deleted):
            try:
                self._drop_deleted()
                self._answer(asks)
            except (torch.OutOfMemoryError, MemoryError) as error:
                _log.warning("out of memory: %s", error)
                self._cache.clear()
                message = "the inference process ran out of memory on this request"
                self._refuse(asks, "unavailable", message)
            except Exception:  # noqa: BLE001 - one question must not end the others' process
                _log.exception("requests failed (count=%d)", len(asks))
                self._refuse(asks, "failed", "the inference process failed on this request")

    def _drop_deleted(self) -> None:
        for path in self._cache.drop_deleted():
            _log.info("model %s: removed from memory, its directory was deleted", path)

    def _answer(self, asks: list[GenerateRequest]) -> None:
        """Answers a batch. Requests that join it are added to `asks`."""
        name = asks[0].question.model
        try:
            model = self._cache.get(name)
        except ModelTooLargeError as error:
            self._refuse(asks, "invalid", str(error), param="model")
            return
        except TrainingError as error:
            if error.code is not FailureCode.BAD_MODEL:
                raise
            # The model was deleted after the request was submitted.
            is_gone = name.startswith("/") and not (Path(name) / "config.json").is_file()
            self._refuse(asks, "not_found" if is_gone else "invalid", str(error), param="model")
            return
        waiting = [row for ask in asks if (row := self._row(ask, model))]

        def arrivals(going: Sequence[GeneratedSequence]) -> list[GeneratedSequence]:
            num_free = self._limits.max_rows - len(going) - len(waiting)
            joining = self._requests.next_of(name, num_free)
            asks.extend(joining)
            waiting.extend(row for ask in joining if (row := self._row(ask, model)))
            new = [*_fitting(waiting, going)]
            del waiting[: len(new)]
            return new

        answer(model.model, arrivals, is_active=self._requests.is_active, send=self._send_event)

    def _row(self, ask: GenerateRequest, model: LoadedModel) -> GeneratedSequence | None:
        """Prepares a request for generation; None if it was refused."""
        prompt, max_new_tokens = ask.question, self._limits.max_answer_tokens
        if (prompt.max_new_tokens or 0) > max_new_tokens:
            message = f"found {prompt.max_new_tokens}; the limit is {max_new_tokens} tokens"
            self._refuse([ask], "invalid", message, param="max_completion_tokens")
            return None
        try:
            conversation = conversation_of(prompt.turns)
            source = source_of(conversation, model.encoder, max_tokens=model.max_source_tokens)
        except DataError as error:
            self._refuse([ask], "invalid", str(error), param="messages")
            return None
        except QuestionTooLongError as error:
            self._refuse([ask], "too_long", str(error), param="messages")
            return None
        self._send_event(
            AnswerStarted(
                id=ask.id, prompt_tokens=len(source.ids), truncated_tokens=source.num_left_out
            )
        )
        return GeneratedSequence(
            id=ask.id,
            source=source.ids,
            sampler=Sampler(temperature=prompt.temperature, top_p=prompt.top_p, seed=prompt.seed),
            text=AnswerDetokenizer(detokenizer_for(model.tokenizer), stop=prompt.stop),
            max_new_tokens=prompt.max_new_tokens or min(model.max_new_tokens, max_new_tokens),
        )

    def _refuse(
        self,
        asks: Sequence[GenerateRequest],
        kind: RefusalKind,
        message: str,
        *,
        param: str | None = None,
    ) -> None:
        """Refuses the requests that have not been answered."""
        for ask in asks:
            self._send_event(Refused(id=ask.id, kind=kind, message=message, param=param))

    def _send_event(self, piece: StreamEvent) -> None:
        """Sends a response, unless its request has ended or was cancelled."""
        if not self._requests.is_active(piece.id):
            return
        if not isinstance(piece, AnswerStarted | TextDelta):
            self._requests.forget(piece.id)
        self._send(piece)


def _fitting(
    waiting: Sequence[GeneratedSequence], going: Sequence[GeneratedSequence]
) -> Iterator[GeneratedSequence]:
    """Yields as many waiting rows as fit in memory with the active ones, in order. If no row is
    active, it yields at least one."""
    beside = [*going]
    for row in waiting:
        longest = max(len(each.source) for each in [*beside, row])
        if beside and longest * (len(beside) + 1) > MAX_BATCH_TOKENS:
            return
        beside.append(row)
        yield row
