"""One request to one endpoint, and what came of it in words without its address."""

import asyncio
import ssl
from dataclasses import dataclass

import httpx

from worker.jobs.http_client import REJECTED, through_proxy
from worker.webhooks.endpoints import Endpoint
from worker.webhooks.message import Message

GONE = 410
"""An endpoint that answers so wants no more of this event."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said."""

    problem: str | None
    """Why the delivery failed; None when it did not."""
    is_final: bool = False
    """Whether another try is of no use."""


async def post(client: httpx.AsyncClient, endpoint: Endpoint, message: Message) -> Answer:
    """The client decides how long each part may take; its `timeout.read` is the limit of the whole
    as well, so that an endpoint that answers a byte at a time holds nobody. The body of the answer
    is not read."""
    try:
        async with (
            asyncio.timeout(client.timeout.read),
            client.stream(
                "POST", endpoint.url, content=message.body, headers=message.headers
            ) as response,
        ):
            status = response.status_code
    except (TimeoutError, httpx.TimeoutException):
        return Answer(f"no answer within {client.timeout.read:g} s")
    except (*REJECTED, ssl.SSLError) as error:
        # Only its class: some messages contain the URL.
        proxy = through_proxy(endpoint.url)
        return Answer(f"no connection or no HTTP{proxy} ({type(error).__name__})")
    if 200 <= status < 300:
        return Answer(None)
    if 300 <= status < 400:
        return Answer(f"HTTP {status}: redirects are not followed")
    return Answer(f"HTTP {status}", is_final=status == GONE)
