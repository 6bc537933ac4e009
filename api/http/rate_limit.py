"""GCRA rate limiter: per key, or per address on a server without keys."""

import math
import re
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import Caller
from api.http.errors import RateLimitedError, answer
from api.settings import RequestRates

_SUBMIT = re.compile(r"/v1/fine_tuning/jobs/?")
_UPLOAD = re.compile(r"/v1/(files|uploads)(/.*)?")
_MAX_KNOWN = 10_000
_TOLERANCE_SECONDS = 1e-6
"""Rounding error of floating-point sums."""


class GcraLimiter:
    """Rate limits of one kind of request. Keeps one timestamp per caller: the time at which its
    budget is full again. Allows a burst of one minute's budget."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds_each = 60.0 / per_minute
        self._clock = clock
        self._theoretical_arrival_time: dict[str, float] = {}

    def wait_seconds(self, who: str) -> float:
        """Counts a request and returns 0 if it is allowed. Otherwise returns the time to wait."""
        now = self._clock()
        paid_off_at = max(now, self._theoretical_arrival_time.get(who, now)) + self._seconds_each
        if paid_off_at - now > 60.0 + _TOLERANCE_SECONDS:
            return paid_off_at - now - 60.0
        self._forget_old(now)
        self._theoretical_arrival_time[who] = paid_off_at
        return 0.0

    def _forget_old(self, now: float) -> None:
        if len(self._theoretical_arrival_time) > _MAX_KNOWN:
            self._theoretical_arrival_time = {
                who: at for who, at in self._theoretical_arrival_time.items() if at > now
            }


class RateLimit:
    """Middleware inside the gate, which sets the caller."""

    def __init__(self, app: ASGIApp, *, rates: RequestRates) -> None:
        self._app = app
        limits = {"submit": rates.submits, "upload": rates.uploads, "other": rates.others}
        self._allowances = {kind: GcraLimiter(limit) for kind, limit in limits.items() if limit}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._error(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
            return
        await answer(error)(scope, receive, send)

    def _error(self, scope: Scope) -> HTTPException | None:
        if not scope["path"].startswith("/v1"):
            return None
        kind = _kind(scope["method"], scope["path"])
        allowance = self._allowances.get(kind)
        if allowance is None:
            return None
        seconds = allowance.wait_seconds(_who(scope))
        return RateLimitedError(kind, retry_after_seconds=math.ceil(seconds)) if seconds else None


def _kind(method: str, path: str) -> str:
    if method != "POST":
        return "other"
    if _SUBMIT.fullmatch(path):
        return "submit"
    return "upload" if _UPLOAD.fullmatch(path) else "other"


def _who(scope: Scope) -> str:
    caller: Caller = scope["state"]["caller"]
    address = scope["client"][0] if scope.get("client") else ""
    return f"key {caller.owner}" if caller.owner else f"address {address}"
