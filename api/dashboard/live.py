"""Keeps what a page shows fresh, while somebody looks at it and no longer."""

import logging
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from fastapi.concurrency import run_in_threadpool
from nicegui import context, ui

from api.dashboard.visitor import NotAllowedError, SessionEndedError
from worker.jobs.errors import JobsError, StoreUnavailableError

SECONDS = 2.0
_MAX_SHARE = 0.05
"""Of a processor, for the reads of one page: dear reads become seldom ones."""

Read = TypeVar("Read")

_log = logging.getLogger(__name__)


class Banner:
    """Says at the top of a page that what it shows is old, or what else concerns all of it."""

    def __init__(self, *, icon: str = "cloud_off") -> None:
        self._row = ui.row().classes("banner")
        with self._row:
            ui.icon(icon)
            self._label = ui.label()
        self._row.set_visibility(False)

    def say(self, text: str) -> None:
        self._label.set_text(text)
        self._row.set_visibility(bool(text))


class Fresh(Generic[Read]):
    """Reads in a thread and shows the answer, at once and again and again until the page is left.

    Its timer belongs to the page and ends with it, a few seconds after the browser has gone.
    """

    def __init__(
        self, read: Callable[[], Read], show: Callable[[Read], None], *, seconds: float = SECONDS
    ) -> None:
        self._read = read
        self._show = show
        self._seconds = seconds
        self._client = context.client
        self._timer = ui.timer(seconds, self.look)

    def stop(self) -> None:
        """Nothing more will come."""
        self._timer.cancel()

    async def look(self) -> None:
        """Once more, now."""
        try:
            answer, cost_seconds = await run_in_threadpool(_timed, self._read)
        except SessionEndedError:
            ui.navigate.to("/login")
            return
        except StoreUnavailableError as error:
            _log.warning("a page can't be kept fresh: %s", error)
            self._say("Redis does not answer; what you see may be old. Trying again …")
            return
        except JobsError as error:
            self._say(str(error))
            return
        if self._client.is_deleted:
            return
        self._say("")
        self._show(answer)
        self._timer.interval = max(self._seconds, cost_seconds / _MAX_SHARE)

    def _say(self, text: str) -> None:
        banner: Banner | None = self._client.storage.get("banner")
        if banner:
            banner.say(text)


def _timed(read: Callable[[], Read]) -> tuple[Read, float]:
    """What is read, and the seconds of a processor that it took."""
    began_at = time.thread_time()
    return read(), time.thread_time() - began_at


async def tried(action: Callable[[], Read], *, done: str) -> Read | None:
    """What the action gives, after a notice that it is done; None after one that says why not."""
    try:
        answer = await run_in_threadpool(action)
    except SessionEndedError:
        ui.navigate.to("/login")
        return None
    except (JobsError, NotAllowedError) as error:
        ui.notify(str(error), type="negative", multi_line=True, close_button="OK", timeout=0)
        return None
    if done:
        ui.notify(done, type="positive")
    return answer
