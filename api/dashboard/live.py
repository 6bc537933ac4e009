"""Polling for live pages, error banners and error notifications."""

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
"""Maximum share of one CPU for the reads of a page. Expensive reads run less often."""

Read = TypeVar("Read")

_log = logging.getLogger(__name__)


class Banner:
    """Banner at the top of a page, such as a warning about stale data."""

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
    """Polls `read` in a thread and passes each result to `show`, until the page is left.

    Its timer belongs to the page and ends a few seconds after the browser disconnects.
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
        """Stops polling."""
        self._timer.cancel()

    async def look(self) -> None:
        """Refreshes immediately."""
        try:
            answer, cost_seconds = await run_in_threadpool(_timed, self._read)
        except SessionEndedError:
            ui.navigate.to("/login")
            return
        except StoreUnavailableError as error:
            _log.warning("dashboard: cannot refresh page: %s", error)
            self._say("Redis is unavailable. The page may be out of date. Retrying …")
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
    """Returns the result and the CPU seconds that reading it took."""
    began_at = time.thread_time()
    return read(), time.thread_time() - began_at


async def tried(action: Callable[[], Read], *, done: str) -> Read | None:
    """Runs an action in a thread and returns its result; shows `done` on success.

    On failure, notifies the user of the error and returns None.
    """
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
