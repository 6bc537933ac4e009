"""Moves chat requests and replies between Redis and the inference process.

One inference process serves all requests of this host. The first request starts it. It stops after
a period without requests, to free the memory of its models. `resolve_model_path` resolves a
requested model to its files.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Iterable

from redis import Redis

from flant5_train.config import DEMO_MODEL
from flant5_train.protocol.inference import (
    AnswerFinished,
    CancelRequest,
    GenerateRequest,
    Refused,
    StreamEvent,
)
from worker.jobs.errors import NotFoundError, StoreUnavailableError
from worker.jobs.storage.paths import Home
from worker.jobs.store.inference import (
    PRESENCE_SECONDS,
    InferenceQueue,
    InferenceRequest,
    InferenceWorkers,
    new_worker_name,
)
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.redis import open_redis
from worker.jobs.store.store import JobStore
from worker.processes.process_tree import signal_fd
from worker.serving.process import (
    InferenceProcess,
    InferenceSettings,
    ServeArgv,
    inference_argv,
    inference_environment,
)
from worker.settings import inherited_environment


def resolve_model_path(model: str, catalog: ModelCatalog, home: Home) -> str:
    """Returns a directory or a hub name.

    Each training file has its own demo model; for its name, the newest one is returned.

    Raises NotFoundError.
    """
    path = catalog.resolve(model)
    if path != DEMO_MODEL:
        return path
    built = [path for path in home.models.glob(f"{DEMO_MODEL}-*/config.json") if path.is_file()]
    if not built:
        raise NotFoundError(
            f"the model {DEMO_MODEL!r} does not exist yet; the first job that trains it creates it"
        )
    return str(max(built, key=lambda path: path.stat().st_mtime).parent)


IDLE_SECONDS = 600.0
"""Seconds without a request after which the inference process is stopped."""
WAIT_SECONDS = 0.5
"""Seconds an idle server waits for a request before it checks for a shutdown."""
LOOK_SECONDS = 0.1
"""Seconds a busy server waits for replies before it checks for more requests."""
BEAT_SECONDS = PRESENCE_SECONDS / 5
RETRY_SECONDS = 1.0

logger = logging.getLogger(__name__)


class InferenceWorker:
    """Runs the rounds; see the module's docstring."""

    def __init__(
        self, settings: InferenceSettings, redis: Redis, *, argv: ServeArgv = inference_argv
    ) -> None:
        self._settings = settings
        self._argv = argv
        self._queue = InferenceQueue(redis)
        self._workers = InferenceWorkers(redis)
        self._catalog = ModelCatalog(settings, JobStore(redis, settings.queue_policy))
        self.name = new_worker_name(settings.inference_name)
        self._program: InferenceProcess | None = None
        self._asked: dict[str, GenerateRequest] = {}
        """Requests without a complete answer, by id."""
        self._models: dict[str, str] = {}
        """The callers' names of the requested models, by request id."""
        self._beat_at = 0.0
        self._busy_at = time.monotonic()

    @property
    def program(self) -> InferenceProcess | None:
        """The running inference process, or None."""
        return self._program

    def round(self) -> None:
        """Runs all steps once. Raises StoreUnavailableError; call `abandon` then."""
        self._heartbeat()
        self._claim()
        self._relay()
        self._cancel_inactive()
        self._rest()

    def abandon(self) -> None:
        """Cancels all requests after a Redis outage: parts of their answers were lost."""
        for chat_id in tuple(self._asked):
            self._cancel(chat_id)

    def close(self) -> None:
        """Fails pending requests, deregisters, and kills the inference process."""
        try:
            self._refuse(self._asked, "the serving process is shutting down; try again")
            self._workers.deregister(self.name)
        except StoreUnavailableError as error:
            logger.warning("deregistration failed: %s", error)
        if self._program is not None:
            self._program.close()

    def _heartbeat(self) -> None:
        if time.monotonic() >= self._beat_at:
            self._workers.register(self.name, device=self._settings.inference_device)
            self._beat_at = time.monotonic() + BEAT_SECONDS

    def _claim(self) -> None:
        room = 2 * self._settings.inference_max_batch_size - len(self._asked)
        if room <= 0:
            return
        wait_seconds = 0.0 if self._asked else WAIT_SECONDS
        for chat in self._queue.claim(room, server=self.name, wait_seconds=wait_seconds):
            self._hand_over(chat)

    def _hand_over(self, chat: InferenceRequest) -> None:
        try:
            path = resolve_model_path(
                chat.prompt.model, self._catalog, self._settings.home_directories
            )
        except NotFoundError as error:
            self._queue.append([Refused(id=chat.id, kind="not_found", message=str(error))])
            return
        ask = GenerateRequest(id=chat.id, question=chat.prompt.model_copy(update={"model": path}))
        if self._program is None:
            environment = inference_environment(
                inherited_environment(), device=self._settings.inference_device
            )
            environment |= self._settings.hub_environment
            self._program = InferenceProcess(self._argv(self._settings), environment)
        self._asked[chat.id] = ask
        self._models[chat.id] = chat.prompt.model
        self._program.send(ask)

    def _relay(self) -> None:
        """Forwards replies received since the last round to their callers."""
        if self._program is None:
            return
        if self._asked:
            select.select([self._program], [], [], LOOK_SECONDS)
        pieces = [self._named(piece) for piece in self._program.read() if piece.id in self._asked]
        if pieces:
            self._queue.append(pieces)
        self._forget(piece.id for piece in pieces if isinstance(piece, AnswerFinished | Refused))
        if self._program.has_ended:
            how, self._program = self._program.close(), None
            logger.warning("inference process: exited (%s)", how)
            message = f"the inference process exited ({how}) before it finished; try again"
            self._refuse(self._asked, message)

    def _named(self, piece: StreamEvent) -> StreamEvent:
        """Replaces the model's directory in error messages with the caller's model name."""
        if not isinstance(piece, Refused):
            return piece
        path, name = self._asked[piece.id].question.model, self._models[piece.id]
        return piece.model_copy(update={"message": piece.message.replace(path, name)})

    def _cancel_inactive(self) -> None:
        if not self._asked:
            return
        wanted = self._queue.active(self._asked)
        for chat_id in self._asked.keys() - wanted:
            logger.info("request %s: cancelled: its client disconnected", chat_id)
            self._cancel(chat_id)

    def _cancel(self, chat_id: str) -> None:
        self._forget([chat_id])
        if self._program is not None:
            self._program.send(CancelRequest(id=chat_id))

    def _refuse(self, chat_ids: Iterable[str], message: str) -> None:
        refused = [Refused(id=each, kind="unavailable", message=message) for each in chat_ids]
        self._forget([piece.id for piece in refused])
        if refused:
            self._queue.append(refused)

    def _forget(self, chat_ids: Iterable[str]) -> None:
        for chat_id in chat_ids:
            del self._asked[chat_id], self._models[chat_id]

    def _rest(self) -> None:
        """Stops the inference process after IDLE_SECONDS without requests."""
        if self._asked:
            self._busy_at = time.monotonic()
        elif self._program and time.monotonic() - self._busy_at > IDLE_SECONDS:
            self._program.close()
            self._program = None


def run_server(settings: InferenceSettings, *, argv: ServeArgv = inference_argv) -> None:
    """Runs the server until SIGTERM or SIGINT."""
    stop = signal_fd(signal.SIGTERM, signal.SIGINT)
    with open_redis(settings.redis_url) as redis:
        server = InferenceWorker(settings, redis, argv=argv)
        pause_seconds = 0.0
        try:
            while not select.select([stop], [], [], pause_seconds)[0]:
                pause_seconds = 0.0
                try:
                    server.round()
                except StoreUnavailableError as error:
                    logger.warning("round failed; retrying: %s", error)
                    server.abandon()
                    pause_seconds = RETRY_SECONDS
        finally:
            server.close()
            os.close(stop)
