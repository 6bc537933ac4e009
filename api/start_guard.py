"""The API's check of its store at the start; it serves /healthz while Redis is still away."""

import logging
import threading
from collections.abc import Callable

from api.settings import ApiSettings
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.startup import check_directories, check_start, wait_for_start

_log = logging.getLogger(__name__)


class StartGuard:
    """Checks at once, or as soon as Redis answers."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._is_checked = False
        self.refusal: StartRefusedError | None = None

    def check(self) -> None:
        """Raises StartRefusedError. A Redis that does not answer yet is no reason to end."""
        check_directories(self._settings.home_directories, use="api")
        try:
            check_start(
                self._settings.redis_url,
                self._settings.home_directories,
                use="api",
                may_lose_data=self._settings.allow_lossy_redis,
            )
        except StoreUnavailableError as error:
            _log.warning("start: answers 503 until the store is there: %s", error)
        else:
            self._is_checked = True

    def watch(self, stop: Callable[[], None]) -> None:
        """Checks in the background what `check` could not, and calls `stop` when it is refused."""
        if not self._is_checked:
            threading.Thread(target=self._wait, args=(stop,), daemon=True).start()

    def _wait(self, stop: Callable[[], None]) -> None:
        try:
            wait_for_start(
                self._settings.redis_url,
                self._settings.home_directories,
                use="api",
                may_lose_data=self._settings.allow_lossy_redis,
            )
        except StartRefusedError as error:
            self.refusal = error
            _log.critical("start: ends, because it can't work: %s", error)
            stop()
