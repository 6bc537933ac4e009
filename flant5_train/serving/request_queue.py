"""Thread-safe queue of inference requests, with cancellation."""

import threading
from collections import deque
from collections.abc import Callable

from flant5_train.protocol.inference import CancelRequest, GenerateRequest, Order

IDLE_SECONDS = 2.0
"""Interval of the `when_idle` callback while there are no requests."""


class RequestQueue:
    """Queue from the thread that reads requests to the thread that answers them in batches."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[GenerateRequest] = deque()
        self._active: set[str] = set()
        self._is_closed = False

    def put(self, order: Order) -> None:
        with self._changed:
            if isinstance(order, CancelRequest):
                self._active.discard(order.id)
            else:
                self._active.add(order.id)
                self._waiting.append(order)
            self._changed.notify()

    def close(self) -> None:
        """Closes the queue: no more requests arrive, and all pending answers are cancelled."""
        with self._changed:
            self._is_closed = True
            self._active.clear()
            self._changed.notify()

    def next_batch(
        self, max_rows: int, *, when_idle: Callable[[], object] = lambda: None
    ) -> list[GenerateRequest]:
        """Returns the oldest request and others for its model; empty if the inbox is closed.

        Blocks until there is a request, and calls `when_idle` every `IDLE_SECONDS` meanwhile.
        """
        with self._changed:
            while True:
                self._waiting = deque(ask for ask in self._waiting if ask.id in self._active)
                if self._is_closed or self._waiting:
                    break
                if not self._changed.wait(IDLE_SECONDS):
                    when_idle()
            if not self._waiting:
                return []
            model = self._waiting[0].question.model
            batch = [ask for ask in self._waiting if ask.question.model == model][:max_rows]
            taken = {ask.id for ask in batch}
            self._waiting = deque(ask for ask in self._waiting if ask.id not in taken)
            return batch

    def next_of(self, model: str, max_rows: int) -> list[GenerateRequest]:
        """Returns the oldest requests while they are for this model; empty if there are none.

        It stops at a request for another model. Without this, that request would starve.
        """
        taken: list[GenerateRequest] = []
        with self._changed:
            while self._waiting and len(taken) < max_rows:
                if self._waiting[0].id in self._active:
                    if self._waiting[0].question.model != model:
                        break
                    taken.append(self._waiting[0])
                self._waiting.popleft()
        return taken

    def is_active(self, ask_id: str) -> bool:
        with self._changed:
            return ask_id in self._active

    def forget(self, ask_id: str) -> None:
        """Removes a request that was answered."""
        with self._changed:
            self._active.discard(ask_id)
