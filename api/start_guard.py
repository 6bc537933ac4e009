"""Store check at the start of the API. While Redis is unavailable, the API already serves
/healthz."""

import logging
import threading
from collections.abc import Callable

from api.settings import ApiSettings
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.startup.start_check import check_directories, check_start, wait_for_start

_log = logging.getLogger(__name__)


class StartGuard:
    """Checks the store at once, or as soon as Redis responds."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._is_checked = False
        self.refusal: StartRefusedError | None = None

    def check(self) -> None:
        """Raises StartRefusedError. An unavailable Redis does not stop the start."""
        check_directories(self._settings.home_directories, use="api")
        try:
            check_start(
                self._settings.redis_url,
                self._settings.home_directories,
                use="api",
                may_lose_data=self._settings.allow_lossy_redis,
            )
        except StoreUnavailableError as error:
            _log.warning("start: store is unavailable, serving 503 until it responds: %s", error)
        else:
            self._is_checked = True

    def watch(self, stop: Callable[[], None]) -> None:
        """Runs the pending check in the background. Calls `stop` if it fails."""
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
            _log.critical("start: refused, shutting down: %s", error)
            stop()
