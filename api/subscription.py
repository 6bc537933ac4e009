"""What one client of a live stream has yet to take: bounded, so that a slow one costs little."""

import asyncio
from collections import deque
from enum import Enum, auto

from api.frames import Frame

MAX_WAITING_FRAMES = 1000
"""Frames kept for a client that does not take them."""


class Signal(Enum):
    """What a subscription says beside frames."""

    ENDED = auto()
    """The job ended: whatever it wrote is in its history by now."""
    MISSED = auto()
    """The client was too slow and frames were dropped: it has to read on in the history."""
    CLOSED = auto()
    """This process stops."""


class Subscription:
    """What one client has yet to take; bounded."""

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
        """What has arrived, in order; nothing when nothing came in time."""
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
