"""Questions that wait, and those that nobody wants answered any more. For several threads."""

import threading
from collections import deque
from collections.abc import Callable

from flant5_train.serving.messages import Ask, Cancel, Order

IDLE_SECONDS = 2.0
"""Time without a question after which, again and again, what is idle work gets done."""


class Inbox:
    """One thread puts orders in, another one takes batches out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Ask] = deque()
        self._wanted: set[str] = set()
        self._is_closed = False

    def put(self, order: Order) -> None:
        with self._changed:
            if isinstance(order, Cancel):
                self._wanted.discard(order.id)
            else:
                self._wanted.add(order.id)
                self._waiting.append(order)
            self._changed.notify()

    def close(self) -> None:
        """Nothing more comes, and nobody reads what would still be said."""
        with self._changed:
            self._is_closed = True
            self._wanted.clear()
            self._changed.notify()

    def next_batch(
        self, max_rows: int, *, when_idle: Callable[[], object] = lambda: None
    ) -> list[Ask]:
        """The question that waits longest and others for its model; empty when the inbox is
        closed. Waits until there is one, and calls `when_idle` every few seconds meanwhile."""
        with self._changed:
            while True:
                self._waiting = deque(ask for ask in self._waiting if ask.id in self._wanted)
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

    def next_of(self, model: str, max_rows: int) -> list[Ask]:
        """What came first, as long as it is for this model; empty when there is nothing. One that
        waits for another model lets nobody pass, or its turn would never come."""
        taken: list[Ask] = []
        with self._changed:
            while self._waiting and len(taken) < max_rows:
                if self._waiting[0].id in self._wanted:
                    if self._waiting[0].question.model != model:
                        break
                    taken.append(self._waiting[0])
                self._waiting.popleft()
        return taken

    def is_wanted(self, ask_id: str) -> bool:
        with self._changed:
            return ask_id in self._wanted

    def forget(self, ask_id: str) -> None:
        """It was answered."""
        with self._changed:
            self._wanted.discard(ask_id)
