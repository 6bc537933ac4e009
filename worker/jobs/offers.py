"""Registry of the configured integrations and the owners who may use them. The process that holds
the accounts publishes it to the API, without any secret."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from redis import Redis

from worker.jobs.errors import InvalidRequestError
from worker.jobs.integrations import HubIntegration, HubRepository, Integration
from worker.jobs.scripts import Argument, Scripts
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable

ALL_OWNERS = "*"
_NAMESPACES = ":namespaces"
"""Suffix of the field that lists the namespaces to which jobs may write."""


class IntegrationOffers:
    """The registry. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._scripts = scripts

    def offer(
        self,
        owners: Mapping[str, Sequence[str]],
        *,
        namespaces: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Replaces the allowed types, each with its owners (or ALL_OWNERS). A type in `namespaces`
        is limited to them. Returns once this is on the server's disk."""
        arguments: list[Argument] = []
        for kind, names in owners.items():
            arguments += [kind, json.dumps(list(names))]
        for kind, names in (namespaces or {}).items():
            arguments += [f"{kind}{_NAMESPACES}", json.dumps(list(names))]
        self._scripts.run_durably("integrations_offer", *arguments)

    def types(self) -> tuple[str, ...]:
        """Returns the types that any owner may use."""
        return offered_types(self._redis)

    def types_for(self, owner: str) -> tuple[str, ...]:
        """Returns the types that this owner may use."""
        return _types_for(owner, self._offered())

    def check(self, integrations: Sequence[Integration], *, owner: str) -> None:
        """Raises InvalidRequestError for an integration that is not configured for this owner."""
        if not integrations:
            return
        offered = self._offered()
        here = _types_for(owner, offered)
        for number, each in enumerate(integrations):
            if each.type not in here:
                raise InvalidRequestError(
                    f"integrations.{number}: {each.type!r} is not configured for your API key. "
                    f"Available: {', '.join(here) or 'none'}. The operator can add [{each.type}] "
                    "to the file in FLANT5_INTEGRATIONS_FILE and run `python -m "
                    "worker.integrations` (docs/integrations.md)",
                    param=f"integrations.{number}.type",
                )
            if isinstance(each, HubIntegration):
                allowed = offered.get(f"{each.type}{_NAMESPACES}")
                _refuse_namespace(each.huggingface, allowed, number=number)

    def _offered(self) -> dict[str, list[str]]:
        return _offered_in(self._redis)


def offered_types(redis: Redis) -> tuple[str, ...]:
    """Returns the types that any owner may use. Raises StoreUnavailableError."""
    return tuple(sorted(name for name in _offered_in(redis) if not name.endswith(_NAMESPACES)))


def _offered_in(redis: Redis) -> dict[str, list[str]]:
    with unavailable():
        offered = cast(dict[str, str], redis.hgetall(keys.INTEGRATIONS))
    return {name: json.loads(names) for name, names in offered.items()}


def _types_for(owner: str, offered: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(
        sorted(
            kind
            for kind, owners in offered.items()
            if not kind.endswith(_NAMESPACES) and {ALL_OWNERS, owner} & set(owners)
        )
    )


def _refuse_namespace(place: HubRepository, allowed: Sequence[str] | None, *, number: int) -> None:
    if allowed is not None and place.namespace not in allowed:
        raise InvalidRequestError(
            f"integrations.{number}.huggingface.repository: found the namespace "
            f"{place.namespace!r}; expected one that the operator allows: "
            f"{', '.join(allowed) or 'none'} (namespaces of [huggingface] in the file in "
            "FLANT5_INTEGRATIONS_FILE)",
            param=f"integrations.{number}.huggingface.repository",
        )
