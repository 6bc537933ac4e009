"""Sends one webhook request. Error messages never contain the endpoint's address."""

import asyncio
import ssl
from dataclasses import dataclass

import httpx

from worker.jobs.http_client import REJECTED, through_proxy
from worker.webhooks.endpoints import Endpoint
from worker.webhooks.message import Message

GONE = 410
"""Status with which an endpoint declines further tries of this event."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome of one request."""

    problem: str | None
    """The error, or None after a successful delivery."""
    is_final: bool = False
    """True if another try is pointless."""


async def post(client: httpx.AsyncClient, endpoint: Endpoint, message: Message) -> Answer:
    """Sends the message and returns the outcome. The body of the response is not read.

    The client's timeouts limit each phase, and `timeout.read` also limits the whole request.
    Without the latter, an endpoint that responds byte by byte would occupy a connection for long.
    """
    try:
        async with (
            asyncio.timeout(client.timeout.read),
            client.stream(
                "POST", endpoint.url, content=message.body, headers=message.headers
            ) as response,
        ):
            status = response.status_code
    except (TimeoutError, httpx.TimeoutException):
        return Answer(f"no response within {client.timeout.read:g} s")
    except (*REJECTED, ssl.SSLError) as error:
        # Only the class name: some messages contain the URL.
        proxy = through_proxy(endpoint.url)
        return Answer(f"connection failed or not HTTP{proxy} ({type(error).__name__})")
    if 200 <= status < 300:
        return Answer(None)
    if 300 <= status < 400:
        return Answer(f"HTTP {status}: redirects are not followed")
    return Answer(f"HTTP {status}", is_final=status == GONE)
