"""Bounded queue of frames for one client of a live stream."""

import asyncio
from collections import deque
from enum import Enum, auto

from api.frames import Frame

MAX_WAITING_FRAMES = 1000
"""Maximum number of unread frames per client."""


class Signal(Enum):
    """Signals that a subscription delivers besides frames."""

    ENDED = auto()
    """The job ended, and its history is complete."""
    MISSED = auto()
    """The client was too slow and frames were dropped. It must continue from the history."""
    CLOSED = auto()
    """This process is shutting down."""


class Subscription:
    """Unread frames and signals of one client, bounded in number."""

    def __init__(self) -> None:
        self._waiting: deque[Frame | Signal] = deque()
        self._news = asyncio.Event()
        self._has_missed = False

    def put(self, item: Frame | Signal) -> None:
        if isinstance(item, Frame) and not self._has_missed:
            self._has_missed = len(self._waiting) >= MAX_WAITING_FRAMES
            if self._has_missed:
                self._waiting = deque(each for each in self._waiting if isinstance(each, Signal))
                item = Signal.MISSED
        elif isinstance(item, Frame):
            return
        self._waiting.append(item)
        self._news.set()

    async def take(self, *, timeout_seconds: float) -> tuple[Frame | Signal, ...]:
        """Returns the items received so far, in order. Empty after a timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        except TimeoutError:
            return ()
        items = tuple(self._waiting)
        self._waiting.clear()
        self._news.clear()
        self._has_missed = False
        return items
