"""Delivers due webhooks: events in the SDK's format, signed according to Standard Webhooks.

Each endpoint has its own limit of concurrent requests, so a slow one does not delay others. Error
messages never contain the endpoint's address. Headers of a request:

    webhook-id: evt_...            the same on each try
    webhook-timestamp: 1767225600  when this try was made
    webhook-signature: v1,<base64 of HMAC-SHA256 of "id.timestamp.body">
"""

import asyncio
import base64
import hmac
import json
import logging
import random
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from worker.daemon import DaemonPresence, ReloadingConfigFile
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.http_client import REJECTED, open_async_client, through_proxy
from worker.jobs.store.outbox import Delivery, WebhookOutbox
from worker.webhooks.endpoints import Endpoint, WebhookSettings, WebhooksFileError


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One request to an endpoint."""

    headers: dict[str, str]
    body: bytes


def write_message(delivery: Delivery, *, key: bytes, at: float) -> WebhookMessage:
    """Returns the request, signed with `key`. `at` is the time of this try in Unix seconds."""
    body = json.dumps(
        {
            "id": delivery.event_id,
            "object": "event",
            "created_at": delivery.end.created_at,
            "type": f"fine_tuning.job.{delivery.end.status}",
            "data": {"id": delivery.end.job_id},
        }
    ).encode()
    timestamp = str(int(at))
    signed = b".".join((delivery.event_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    headers = {
        "content-type": "application/json",
        "user-agent": "flant5",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }
    return WebhookMessage(headers, body)


GONE = 410
"""Status with which an endpoint declines further tries of this event."""


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """Outcome of one request."""

    problem: str | None
    """The error, or None after a successful delivery."""
    is_final: bool = False
    """True if another try is pointless."""


async def post(
    client: httpx.AsyncClient, endpoint: Endpoint, message: WebhookMessage
) -> WebhookResponse:
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
        return WebhookResponse(f"no response within {client.timeout.read:g} s")
    except (*REJECTED, ssl.SSLError) as error:
        # Only the class name: some messages contain the URL.
        proxy = through_proxy(endpoint.url)
        return WebhookResponse(f"connection failed or not HTTP{proxy} ({type(error).__name__})")
    if 200 <= status < 300:
        return WebhookResponse(None)
    if 300 <= status < 400:
        return WebhookResponse(f"HTTP {status}: redirects are not followed")
    return WebhookResponse(f"HTTP {status}", is_final=status == GONE)


MAX_UNDER_WAY = 8
"""Maximum number of concurrent requests to one endpoint."""
POLL_SECONDS = 0.5
SUBSCRIBE_SECONDS = 10.0
"""Seconds between two writes of all subscriptions to Redis, which may have lost them."""
MAX_PAUSE_SECONDS = 6 * 3600.0

logger = logging.getLogger(__name__)


def pause_before(number: int, *, first_seconds: float) -> float:
    """Returns the seconds before try `number` (2 is the first retry).

    Jitter of up to 20 % spreads the retries of deliveries that failed together.
    """
    seconds = min(first_seconds * 4.0 ** min(number - 2, 20), MAX_PAUSE_SECONDS)
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


class Sender:
    """Sends to all endpoints of one file. Several senders share the work.

    If a sender is killed, its pending deliveries are sent again with the same id.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        file: ReloadingConfigFile[tuple[Endpoint, ...]],
        outbox: WebhookOutbox,
        presence: DaemonPresence,
    ) -> None:
        self._settings = settings
        self._file = file
        self._outbox = outbox
        self._presence = presence
        self._under_way: set[asyncio.Task[None]] = set()
        self._num_under_way: Counter[str] = Counter()
        self._subscribe_at = 0.0
        self._wake = asyncio.Event()
        self._is_stopping = False

    def stop(self) -> None:
        """Makes `run` return after its pending requests."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Runs delivery rounds until `stop` is called. Raises NetworkSettingsError."""
        timeout = self._settings.webhook_timeout_seconds
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=MAX_UNDER_WAY)
        async with open_async_client(
            timeout=timeout, limits=limits, follow_redirects=False
        ) as client:
            while not self._is_stopping:
                try:
                    await self._round(client)
                except StoreUnavailableError as error:
                    logger.warning("round failed; retrying: %s", error)
                await self._rest()
            await asyncio.gather(*self._under_way)

    async def _rest(self) -> None:
        """Waits until a delivery has ended, at most POLL_SECONDS."""
        try:
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
        except TimeoutError:
            return
        if not self._is_stopping:
            self._wake.clear()

    async def _round(self, client: httpx.AsyncClient) -> None:
        await self._subscribe()
        await asyncio.to_thread(self._presence.register)
        for endpoint in self._file.content:
            num_free = MAX_UNDER_WAY - self._num_under_way[endpoint.name]
            if num_free > 0:
                for delivery in await self._take(endpoint, num_free):
                    self._begin(client, endpoint, delivery)

    async def _subscribe(self) -> None:
        try:
            has_changed = self._file.refresh()
        except WebhooksFileError as error:
            logger.error("webhooks file: invalid; keeping the previous endpoints: %s", error)
            has_changed = False
        if not has_changed and time.monotonic() < self._subscribe_at:
            return
        age = self._settings.give_up_seconds
        wanted = [each.subscription(max_age_seconds=age) for each in self._file.content]
        gone = await asyncio.to_thread(self._outbox.subscribe, wanted)
        for name, number in gone.items():
            logger.warning(
                "webhook %s: endpoint removed from the file; dropped pending deliveries (count=%d)",
                name,
                number,
            )
        self._subscribe_at = time.monotonic() + SUBSCRIBE_SECONDS

    async def _take(self, endpoint: Endpoint, limit: int) -> Sequence[Delivery]:
        lease = self._settings.lease_seconds
        return await asyncio.to_thread(
            self._outbox.claim_due, endpoint.name, limit=limit, lease_seconds=lease
        )

    def _begin(self, client: httpx.AsyncClient, endpoint: Endpoint, delivery: Delivery) -> None:
        task = asyncio.create_task(self._deliver(client, endpoint, delivery))
        self._under_way.add(task)
        self._num_under_way[endpoint.name] += 1

        def ended(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            self._num_under_way[endpoint.name] -= 1
            self._wake.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                # Due again when its lease expires.
                logger.error("webhook %s: delivery aborted", endpoint.name, exc_info=error)

        task.add_done_callback(ended)

    async def _deliver(
        self, client: httpx.AsyncClient, endpoint: Endpoint, delivery: Delivery
    ) -> None:
        message = write_message(delivery, key=endpoint.key, at=time.time())
        answer = await post(client, endpoint, message)
        try:
            if answer.problem is None:
                await asyncio.to_thread(self._outbox.ack, delivery)
                logger.info("webhook %s: delivered (job=%s, status=%s)", *_of(delivery))
            else:
                await self._failed(delivery, answer.problem, is_final=answer.is_final)
        except StoreUnavailableError as error:
            logger.warning(
                "webhook %s: cannot save the response; it will be sent again: %s",
                endpoint.name,
                error,
            )

    async def _failed(self, delivery: Delivery, problem: str, *, is_final: bool) -> None:
        number = delivery.number
        pause = pause_before(number + 1, first_seconds=self._settings.webhook_retry_seconds)
        gives_up_at = delivery.end.created_at + self._settings.give_up_seconds
        if is_final or time.time() + pause > gives_up_at:
            tries = "1 try" if number == 1 else f"{number} tries"
            reason = f"gave up after {tries}; last error: {problem}"
            await asyncio.to_thread(self._outbox.dead_letter, delivery, reason=reason)
            logger.error(
                "webhook %s: not delivered (job=%s, status=%s): %s", *_of(delivery), reason
            )
            return
        await asyncio.to_thread(self._outbox.retry, delivery, pause_seconds=pause)
        logger.warning(
            "webhook %s: delivery failed (job=%s, status=%s): %s; try %d in %.0f s",
            *_of(delivery),
            problem,
            number + 1,
            pause,
        )


def _of(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.endpoint, delivery.end.job_id, delivery.end.status.value
