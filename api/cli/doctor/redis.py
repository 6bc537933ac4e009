"""Checks of the store and of the API's port.

Redis or Valkey must be reachable, writable and durable, and belong to the same service as HOME. The
port must be free or served by the API. The checks also report recent losses of Redis data, as
detected by a controller.
"""

import socket
import time
from typing import Any

import httpx
from pydantic import SecretStr
from redis import exceptions

from api.cli.client import local_url
from api.cli.doctor.check import Finding, failed, fine, not_applicable, warning
from api.cli.views.format import size
from api.services.store_loss import StoreLoss
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.redis_address import RedisAddress
from worker.jobs.rules import QueuePolicy
from worker.jobs.startup.server_check import ServerFacts, check_server, evicts_expiring, losses_of
from worker.jobs.startup.service_identity import ServiceIdentity
from worker.jobs.storage.paths import Home
from worker.jobs.storage.store_losses import DataLossLog
from worker.jobs.store.recovery import RecoveryRequests
from worker.jobs.store.redis import Scripts, open_redis, translate_redis_errors

NEARLY_FULL = 0.9

_SAFE = "appendonly yes and maxmemory-policy noeviction: nothing acknowledged may get lost"
_PROBE = "#!lua\nreturn 1"
"""A script flagged as writing. Full servers, replicas, and servers with a bad disk reject it."""


def check_redis(url: SecretStr, *, is_chosen: bool, may_lose_data: bool = False) -> Finding:
    """Checks the server's availability, writes and durability.

    `is_chosen` is True if FLANT5_REDIS_URL is set: a missing server at the default address is no
    error. `may_lose_data` is FLANT5_ALLOW_LOSSY_REDIS.
    """
    address = RedisAddress.parse(url.get_secret_value())
    try:
        facts = check_server(url, may_lose_data=may_lose_data)
    except StartRefusedError as error:
        return failed(error.found, expected=error.expected, remedy=error.remedy)
    except StoreUnavailableError as error:
        return _not_answering(error, address, is_chosen=is_chosen)
    try:
        with open_redis(url) as redis, translate_redis_errors():
            redis.eval(_PROBE, 0)
    except (StoreUnavailableError, exceptions.ResponseError) as error:
        return failed(
            f"{address.place} rejects writes: {error}",
            expected="a primary with free memory and disk space",
            remedy="redis-cli INFO memory, INFO persistence",
        )
    return _judged(facts, address)


def check_service(url: SecretStr, home: Home) -> Finding:
    """Checks that HOME and Redis belong to the same service. Writes nothing."""
    address = RedisAddress.parse(url.get_secret_value())
    try:
        with open_redis(url) as redis:
            own, known = ServiceIdentity(redis, home, address).ids()
    except (StoreUnavailableError, exceptions.RedisError) as error:
        return not_applicable(f"cannot query Redis: {error}")
    except OSError as error:
        return not_applicable(f"{home.service} can't be read: {error.strerror}")
    if own == known or known is None:
        place = f"{address.place}, database {address.db}"
        return fine(f"{own or 'no service id yet'} (HOME {home.root}, Redis at {place})")
    return failed(
        f"HOME {home.root} belongs to {own or 'no service'}, but Redis at {address.place}, "
        f"database {address.db}, to {known}",
        expected="a HOME and a Redis database of one service",
        remedy="set FLANT5_HOME or FLANT5_REDIS_URL; if they belong together, run `flant5 adopt`",
    )


def _judged(facts: ServerFacts, address: RedisAddress) -> Finding:
    found, info = facts.name, facts.info
    if wrong := losses_of(info):
        commands = ", ".join(f"redis-cli CONFIG SET {setting}" for setting in wrong.values())
        return warning(
            f"{found}: {', '.join(wrong)}",
            expected=_SAFE,
            remedy=f"{commands}; and the same in its configuration file",
        )
    if evicts_expiring(info):
        return warning(
            f"{found}: when memory is full, it evicts idempotency keys, worker entries and chats "
            f"({info['maxmemory_policy']}); a retried create may then create a second job",
            expected="maxmemory-policy noeviction",
            remedy="redis-cli CONFIG SET maxmemory-policy noeviction; and the same in its "
            "configuration file",
        )
    if not address.password and not address.is_local:
        return warning(
            f"{found}: no password is required",
            expected="requirepass, on a network",
            remedy="set requirepass on the server and FLANT5_REDIS_PASSWORD_FILE on this host",
        )
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if most and used > NEARLY_FULL * most:
        return warning(
            f"{found}: {size(used)} of {size(most)} used",
            expected="free memory; a full server rejects new jobs",
            remedy="raise maxmemory, or set FLANT5_KEEP_JOBS_DAYS to delete old jobs",
        )
    return fine(f"{found}: append-only file on, no eviction")


def _not_answering(
    error: StoreUnavailableError, address: RedisAddress, *, is_chosen: bool
) -> Finding:
    place, message = address.place, str(error).removeprefix("Redis is not available: ")
    if "loading" in message:
        return warning(
            f"{place} is still loading its data",
            expected="a server that has loaded its data",
            remedy="wait; `redis-cli INFO persistence` shows the progress",
        )
    if not is_chosen:
        return _nobody(place)
    return failed(
        f"{place} does not respond: {message}",
        expected="a Redis or Valkey server at FLANT5_REDIS_URL",
        remedy="docker compose up -d redis (or start your server), and check FLANT5_REDIS_URL",
    )


def _nobody(address: str) -> Finding:
    return not_applicable(
        f"FLANT5_REDIS_URL is not set and no server responds at {address}; "
        "`docker compose exec api flant5 doctor` checks the server of compose"
    )


_PATIENCE_SECONDS = 5.0


def check_port(host: str, port: int) -> Finding:
    """Queries the API on the port. If nothing listens, tries to bind the port."""
    url = local_url(host, port)
    try:
        alive = _get(f"{url}/healthz")
    except httpx.ConnectError:
        return _bound(host, port)
    except httpx.TransportError as error:
        return _taken(port, f"does not use HTTP ({type(error).__name__})")
    if _document(alive).get("status") != "ok":
        return _taken(port, f"returns {alive.status_code} for /healthz")
    try:
        ready = _get(f"{url}/readyz")
    except httpx.TransportError as error:
        found = f"the API at {url} is alive, but /readyz does not respond: {error}"
        return _not_ready(found)
    if ready.is_success:
        return fine(f"the API at {url} is ready")
    message = (_document(ready).get("error") or {}).get("message", ready.reason_phrase)
    return _not_ready(f"the API at {url} is not ready: {message}")


def _bound(host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return failed(
            f"can't listen on {host}, port {port}: {error.strerror}",
            expected="an address of this machine and a free port above 1023",
            remedy="set FLANT5_HOST and FLANT5_PORT",
        )
    return fine(f"port {port} of {host} is free")


def _taken(port: int, how: str) -> Finding:
    return failed(
        f"port {port} is used by another program, which {how}",
        expected="a free port, or the API of flant5",
        remedy=f"find it with `sudo ss -ltnp 'sport = :{port}'`, or set FLANT5_PORT",
    )


def _not_ready(found: str) -> Finding:
    return failed(
        found,
        expected="a Redis that the API can reach and write to",
        remedy="docker compose logs redis api, or logs/ in HOME of `flant5 up`",
    )


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=_PATIENCE_SECONDS, trust_env=False)


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


RECENT_SECONDS = 7 * 24 * 3600.0

_EXPECTED = "a server that keeps all acknowledged writes"
_REMEDY = (
    "check it for restarts, failovers and evictions (appendonly yes, maxmemory-policy noeviction)"
)


def check_losses(url: SecretStr, home: Home) -> Finding:
    """Checks that no data was lost in the last week, and that all lost jobs are restored."""
    log = DataLossLog(home.losses)
    try:
        losses = log.read()
        with open_redis(url) as redis:
            notice = StoreLoss(log, RecoveryRequests(Scripts(redis, QueuePolicy()))).notice()
    except OSError as error:
        return not_applicable(f"{home.losses} can't be read: {error.strerror}")
    except (StoreUnavailableError, exceptions.ResponseError) as error:
        return not_applicable(str(error))
    last = losses.last
    if last is None:
        return fine("no data loss was detected")
    if notice is not None and "all are back" not in notice and last.num_jobs:
        remedy = "flant5 recover; GET /v1/recover shows the problems"
        return failed(notice, expected=_EXPECTED, remedy=remedy)
    if time.time() - last.noticed_at < RECENT_SECONDS:
        return warning(last.account, expected=_EXPECTED, remedy=_REMEDY)
    return fine(f"the last data loss was more than a week ago; {losses.num_losses} in total")
