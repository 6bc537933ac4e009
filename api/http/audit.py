"""Audit log: a line of JSON for each request that may change something, and for each rejected
request.

HOME/audit/2026-11-24.jsonl    one file per day, in UTC; flant5 never reads it, and the controller
                               removes it only by FLANT5_KEEP_AUDIT_DAYS

    {"at": "2026-11-24T03:52:10.317Z", "request_id": "req_5f...", "owner": "alice",
     "address": "10.0.0.7", "action": "POST /v1/fine_tuning/jobs", "object": "ftjob-...",
     "status": 200}
"""

import json
import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import Caller

_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
_KEPT_OUT = frozenset({401, 403, 429})
_OWN_ID = re.compile(rb'^\{"id":"([^"\\]{1,300})"')
_MAX_CHARACTERS = 300

_log = logging.getLogger(__name__)


class AuditLog:
    """Writer of the audit files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def append(self, entry: dict[str, Any]) -> None:
        """Appends a line to today's file. The action is already done: if the disk rejects the line,
        it goes to the service's log."""
        line = json.dumps(entry, ensure_ascii=True)
        path = self._directory / f"{entry['at'][:10]}.jsonl"
        try:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            try:
                os.write(descriptor, line.encode() + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.error("audit: cannot write (%s): %s", error, line)


class Audit:
    """Middleware between the frame, which sets the request id, and the gate, which sets the
    caller."""

    def __init__(self, app: ASGIApp, *, log: AuditLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(("/v1", "/metrics")):
            await self._app(scope, receive, send)
            return
        status, beginning = 0, b""

        async def send_and_note(message: Message) -> None:
            nonlocal status, beginning
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not beginning:
                beginning = message.get("body", b"")[:512]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            if scope["method"] not in _LOOKS or status in _KEPT_OUT:
                entry = _entry(scope, status=status, beginning=beginning)
                await run_in_threadpool(self._log.append, entry)


def _entry(scope: Scope, *, status: int, beginning: bytes) -> dict[str, Any]:
    caller: Caller = scope["state"]["caller"]
    at = datetime.now(UTC)
    made = _OWN_ID.match(beginning) if 200 <= status < 300 else None
    named = "/".join(str(value) for value in (scope.get("path_params") or {}).values())
    return {
        "at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z",
        "request_id": scope["state"]["request_id"],
        "owner": caller.owner,
        "address": scope["client"][0] if scope.get("client") else "",
        "action": f"{scope['method']} {scope['path']}"[:_MAX_CHARACTERS],
        "object": made[1].decode("utf-8", "replace") if made else named[:_MAX_CHARACTERS],
        # 0: no response was sent, because of an internal error.
        "status": status,
    }
