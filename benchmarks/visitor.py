"""`python -m benchmarks.visitor URL`: keeps a page of the dashboard open like a browser.

Prints `open` after the first update of the page, and the number of updates when its input ends.
"""

import ast
import asyncio
import contextlib
import os
import re
import sys
import uuid
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import socketio

_QUERY = re.compile(r"query: (\{.*?\}),\n")
_LEAST_OF_ALL = 19
"""Lowest priority, because a real visitor's browser runs on another machine."""


class Visitor:
    """An open page."""

    def __init__(self) -> None:
        self._client = socketio.AsyncClient()
        self._page: dict[str, Any] = {}
        self.num_updates = 0
        for name in ("update", "run_javascript"):
            self._client.on(name, self._received)

    async def open(self, url: str) -> None:
        """Loads the page and connects.

        Raises httpx.HTTPError, socketio.exceptions.ConnectionError, and ValueError if the page is
        not a NiceGUI page.
        """
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            answer = (await client.get(url)).raise_for_status()
        found = _QUERY.search(answer.text)
        if found is None:
            raise ValueError(f"{url}: not a page of the dashboard: {answer.text[:200]}")
        self._page = ast.literal_eval(found[1])  # a Python literal in the page
        query = {
            **self._page,
            "tab_id": str(uuid.uuid4()),
            "document_id": str(uuid.uuid4()),
            "implicit_handshake": "true",
        }
        root = urlsplit(url)._replace(path="", query=urlencode(query)).geturl()
        await self._client.connect(
            root, socketio_path="_nicegui_ws/socket.io", transports=["websocket"]
        )

    async def close(self) -> None:
        await self._client.disconnect()

    async def _received(self, message: dict[str, Any]) -> None:
        self.num_updates += 1
        # The server keeps unacknowledged messages to send them again.
        if "_id" in message:
            known = {"client_id": self._page["client_id"], "next_message_id": message["_id"] + 1}
            await self._client.emit("ack", known)


async def main(url: str) -> None:
    """Keeps the page open until the input ends."""
    os.nice(_LEAST_OF_ALL)
    visitor = Visitor()
    await visitor.open(url)
    try:
        while not visitor.num_updates:
            await asyncio.sleep(0.1)
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print(visitor.num_updates, flush=True)
    finally:
        with contextlib.suppress(socketio.exceptions.SocketIOError):
            await visitor.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
