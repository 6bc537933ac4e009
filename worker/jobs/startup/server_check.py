"""Startup check of the Redis or Valkey server. A server that can't work is refused with the same
message in every process and in `flant5 doctor`."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from redis import Redis, exceptions

from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.redis_address import TLS, RedisAddress
from worker.jobs.store import keys
from worker.jobs.store.redis import is_transient, open_redis

MIN_VERSION = (7, 0)
"""First version that supports the flags of our scripts (`#!lua flags=allow-oom`)."""

_SCRIPT = "#!lua flags=allow-oom\nreturn 1"
_STEPS = "each step of a job is a script"
COMMANDS = (
    "SET {0}:string 1 EX 60|GET {0}:string|MGET {0}:string|INCR {0}:string|EXISTS {0}:string|"
    "EXPIRE {0}:string 60|PEXPIRE {0}:string 60000|"
    "HSET {0}:hash a 1|EXPIRE {0}:hash 60|"
    "HSETNX {0}:hash a 1|HINCRBY {0}:hash a 1|HGET {0}:hash a|HMGET {0}:hash a|"
    "HGETALL {0}:hash|HEXISTS {0}:hash a|HKEYS {0}:hash|HVALS {0}:hash|HLEN {0}:hash|"
    "HDEL {0}:hash a|"
    "SADD {0}:set a|EXPIRE {0}:set 60|"
    "SISMEMBER {0}:set a|SMEMBERS {0}:set|SCARD {0}:set|SREM {0}:set a|"
    "ZADD {0}:zset 1 a|EXPIRE {0}:zset 60|ZCARD {0}:zset|ZCOUNT {0}:zset 0 1|ZRANGE {0}:zset 0 1|"
    "ZRANGEBYSCORE {0}:zset 0 1|ZREVRANGEBYSCORE {0}:zset 1 0|ZREVRANGE {0}:zset 0 1|"
    "ZSCORE {0}:zset a|ZMSCORE {0}:zset a|ZRANK {0}:zset a|ZREM {0}:zset a|"
    "ZREMRANGEBYSCORE {0}:zset 0 1|"
    "XADD {0}:stream * a 1|EXPIRE {0}:stream 60|"
    "XRANGE {0}:stream - +|XREVRANGE {0}:stream + -|XLEN {0}:stream|"
    "XREAD COUNT 1 STREAMS {0}:stream 0|XDEL {0}:stream 0-1|"
    "RPUSH {0}:list a b c d e|EXPIRE {0}:list 60|"
    "LPUSH {0}:list a|LLEN {0}:list|LINDEX {0}:list 0|LPOS {0}:list a|"
    "LREM {0}:list 1 a|LPOP {0}:list|RPOP {0}:list|BLPOP {0}:list 1|BRPOP {0}:list 1|"
    "DEL {0}:string {0}:hash {0}:set {0}:zset {0}:stream {0}:list|"
    "TIME|SCAN 0 COUNT 1|WAITAOF 0 0 0"
)
"""All commands that the service uses besides scripts and transactions. The check tries each one on
its own keys, which expire if DEL is refused."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server that passed the check."""

    name: str
    """Redis or Valkey, with its version and address."""
    info: dict[str, Any]
    """INFO as parsed by redis-py."""


def check_server(url: SecretStr, *, may_lose_data: bool = True) -> ServerFacts:
    """Checks version, mode, scripts and permissions of the server. Unless it `may_lose_data`,
    refuses one that evicts keys or keeps no append-only file.

    Raises StartRefusedError if waiting can't help, and StoreUnavailableError for a server that does
    not answer or still loads its data."""
    address = RedisAddress.parse(url.get_secret_value())
    with open_redis(url) as redis:
        info = _info(redis, address)
        for refusal in _refusals(info, address.place):
            raise refusal
        if not may_lose_data:
            _refuse_losses(info, address.place)
        _try_scripts(redis, address)
        _try_commands(redis, address)
    return ServerFacts(name=_name(info, address.place), info=info)


def _info(redis: Redis, address: RedisAddress) -> dict[str, Any]:
    try:
        info = redis.info()
    except exceptions.BusyLoadingError as error:
        raise _still_loading(address.place) from error
    except exceptions.RedisError as error:
        raise _described(error, address) from error
    except OSError as error:
        raise StoreUnavailableError(f"Redis is not available: {error}") from error
    if info.get("loading"):
        raise _still_loading(address.place)
    return info


def _still_loading(place: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"Redis is not available: {place} is still loading its data")


def _refusals(info: dict[str, Any], place: str) -> Iterator[StartRefusedError]:
    """Yields the reasons in INFO to refuse a server, worst first."""
    mode = info.get("redis_mode") or info.get("server_mode")
    if mode == "sentinel":
        yield StartRefusedError(
            f"{place} is a sentinel, which keeps no data",
            expected="the primary that it watches",
            remedy="set FLANT5_REDIS_URL to the address that `SENTINEL "
            "GET-PRIMARY-ADDR-BY-NAME` or `GET-MASTER-ADDR-BY-NAME` gives",
        )
    if mode == "cluster" or info.get("cluster_enabled"):
        yield StartRefusedError(
            f"{place} runs in cluster mode",
            expected="a single server: a step of a job changes several keys at once, which a "
            "cluster refuses",
            remedy="start one with cluster-enabled no, and set FLANT5_REDIS_URL to it",
        )
    if info.get("role") in ("slave", "replica"):
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        yield StartRefusedError(
            f"{place} is a replica of {primary}, and takes no writes",
            expected="the primary",
            remedy=f"set FLANT5_REDIS_URL to {primary}, or promote this one (REPLICAOF NO ONE)",
        )
    version = _version(info)
    if version and version < MIN_VERSION:
        yield StartRefusedError(
            f"{_name(info, place)} is too old",
            expected=f"{'.'.join(map(str, MIN_VERSION))} or newer, which supports the flags of our "
            "scripts",
            remedy="use the image in docker-compose.yml, or unset FLANT5_REDIS_URL for `flant5 "
            "up`, which starts a server of its own",
        )


def losses_of(info: dict[str, Any]) -> dict[str, str]:
    """Returns each cause by which the server may lose acknowledged jobs -> the setting that fixes
    it. A field that is missing in INFO (some managed servers) is not checked.

    Without a maxmemory nothing is evicted. A volatile policy evicts only keys that expire: see
    `evicts_expiring`."""
    found = {}
    if info.get("aof_enabled") == 0:
        found["no append-only file"] = "appendonly yes"
    policy = _eviction_policy(info)
    if policy != "noeviction" and not policy.startswith("volatile-"):
        found[f"it evicts keys ({policy})"] = "maxmemory-policy noeviction"
    return found


def evicts_expiring(info: dict[str, Any]) -> bool:
    """Returns True for a server that evicts only keys with a time to live. Jobs have none, but
    idempotency keys, workers' entries and chats do."""
    return _eviction_policy(info).startswith("volatile-")


def _eviction_policy(info: dict[str, Any]) -> str:
    return (
        "noeviction" if info.get("maxmemory") == 0 else info.get("maxmemory_policy", "noeviction")
    )


def _refuse_losses(info: dict[str, Any], place: str) -> None:
    if not (losses := losses_of(info)):
        return
    commands = ", ".join(f"CONFIG SET {setting}" for setting in losses.values())
    raise StartRefusedError(
        f"{_name(info, place)} may lose acknowledged jobs: {', '.join(losses)}",
        expected=" and ".join(losses.values()),
        remedy=f"{commands}, and the same in its configuration file; or set "
        "FLANT5_ALLOW_LOSSY_REDIS=true: the controller then restores missing jobs from the disk",
    )


def _try_scripts(redis: Redis, address: RedisAddress) -> None:
    try:
        redis.eval(_SCRIPT, 0)
        redis.evalsha("0" * 40, 0)
    except (exceptions.NoScriptError, exceptions.ReadOnlyError, exceptions.OutOfMemoryError):
        return
    except exceptions.NoPermissionError as error:
        raise _not_permitted(address, ["EVAL", "EVALSHA"]) from error
    except exceptions.ResponseError as error:
        if is_transient(error):
            raise _described(error, address) from error
        raise StartRefusedError(
            f"{address.place} can't run the scripts of flant5: {error}",
            expected=f"EVAL and EVALSHA with the flags of Redis 7: {_STEPS}",
            remedy="allow them (rename-command, a proxy, a server that only resembles Redis)",
        ) from error
    except exceptions.RedisError as error:
        raise _described(error, address) from error


def _try_commands(redis: Redis, address: RedisAddress) -> None:
    """Tries all commands. Refuses a user without all permissions, and names the missing ones. A
    full memory or disk is not refused, because an operator may fix it meanwhile."""
    probe = f"{keys.PREFIX}probe:{secrets.token_hex(8)}"
    tried = [line.format(probe).split() for line in COMMANDS.split("|")]
    try:
        with redis.pipeline(transaction=False) as pipeline:
            for command in tried:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            answers = pipeline.execute(raise_on_error=False)
        _judge_answers(answers, [command[0] for command in tried], address)
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.exists(probe)
            pipeline.execute()
    except exceptions.ResponseError as error:
        # Without MULTI the server's error names EXEC.
        raise _not_permitted(address, ["MULTI", "EXEC"]) from error
    except exceptions.RedisError as error:
        raise _described(error, address) from error


def _judge_answers(answers: Sequence[object], commands: list[str], address: RedisAddress) -> None:
    refused = [
        (command, str(answer))
        for command, answer in zip(commands, answers, strict=True)
        if isinstance(answer, exceptions.NoPermissionError)
    ]
    if any(" key" in message for _, message in refused):
        raise StartRefusedError(
            f"{_user(address)} has no access to keys that begin with {keys.PREFIX}",
            expected=f"access to all keys of the service: ~{keys.PREFIX}*",
            remedy=f"ACL SETUSER {address.username or 'default'} ~{keys.PREFIX}*",
        )
    if refused:
        raise _not_permitted(address, [command for command, _ in refused])


def _not_permitted(address: RedisAddress, commands: list[str]) -> StartRefusedError:
    grants = " ".join(f"+{command.lower()}" for command in commands)
    return StartRefusedError(
        f"{_user(address)} is not allowed to run {', '.join(commands)}",
        expected="a user with access to the commands of the service (docs/deploy.md)",
        remedy=f"ACL SETUSER {address.username or 'default'} {grants}",
    )


def _user(address: RedisAddress) -> str:
    return f"the user {address.username or 'default'!r} of {address.place}"


def _described(error: exceptions.RedisError, address: RedisAddress) -> Exception:
    """Translates an error of a connection, or of a command that every user may run."""
    place, message = address.place, str(error)
    if isinstance(error, exceptions.ResponseError) and is_transient(error):
        return StoreUnavailableError(f"Redis is not available: {place}: {message}")
    if isinstance(error, exceptions.AuthenticationError) or "AUTH" in message:
        return StartRefusedError(
            f"{place} refuses the login: {message}",
            expected="the user and password of that server",
            remedy="set FLANT5_REDIS_PASSWORD_FILE to the file that holds the password "
            "(secrets/redis_password), or put it into FLANT5_REDIS_URL",
        )
    if isinstance(error, exceptions.NoPermissionError):
        return _not_permitted(address, [_command_in(message)])
    if isinstance(error, exceptions.InvalidResponse) or "Protocol Error" in message:
        return StartRefusedError(
            f"{place} does not speak the Redis protocol: {message[:200]}",
            expected="a Redis or Valkey server",
            remedy="check host and port in FLANT5_REDIS_URL",
        )
    if "CERTIFICATE_VERIFY_FAILED" in message or "WRONG_VERSION_NUMBER" in message:
        return _tls_failed(place, message)
    if isinstance(error, exceptions.ResponseError):
        return _refused(error, address)
    # A server that expects the other kind of connection closes it, or does not respond.
    hint = " (rediss:// uses TLS; does the server, at that port?)" if address.kind == TLS else ""
    return StoreUnavailableError(f"Redis is not available: {message}{hint}")


def _tls_failed(place: str, message: str) -> StartRefusedError:
    is_plain = "WRONG_VERSION_NUMBER" in message
    return StartRefusedError(
        f"no TLS connection to {place}: {message}",
        expected="a server that speaks TLS on that port, with a certificate that this host trusts",
        remedy="use redis:// in FLANT5_REDIS_URL, or the server's TLS port"
        if is_plain
        else "add ?ssl_ca_certs=/path/of/ca.pem to FLANT5_REDIS_URL, and use a host name that is "
        "in the certificate",
    )


def _refused(error: exceptions.ResponseError, address: RedisAddress) -> StartRefusedError:
    if "DB index" in str(error):
        return StartRefusedError(
            f"{address.place} has no database {address.db}",
            expected="an existing one: by default 0 to 15 (`databases` in its configuration)",
            remedy="change the number at the end of FLANT5_REDIS_URL",
        )
    return StartRefusedError(
        f"{address.place} refuses the first commands of a client: {error}",
        expected="a Redis or Valkey server that answers INFO and SELECT",
        remedy="check FLANT5_REDIS_URL, and the renamed commands in the server's configuration",
    )


def _command_in(message: str) -> str:
    """Returns the command in `... has no permissions to run the 'info' command`."""
    quoted = message.partition("'")[2].partition("'")[0]
    return quoted.upper() or "INFO"


def _version(info: dict[str, Any]) -> tuple[int, ...]:
    """Returns the Redis version that a server (also Valkey) is compatible with; () if INFO has
    none."""
    numbers = str(info.get("redis_version", "")).split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdecimal())


def _name(info: dict[str, Any], place: str) -> str:
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']} at {place}"
    return f"Redis {info.get('redis_version', 'of an unknown version')} at {place}"
