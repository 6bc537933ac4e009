"""Which integrations the operator has set up, and for whom: what the process that has the
accounts says of them to the API, without any secret."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.errors import InvalidRequestError
from worker.jobs.integrations import Integration
from worker.jobs.rules import Rules
from worker.jobs.scripts import Argument, Scripts

ALL_OWNERS = "*"


class IntegrationOffers:
    """Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, Rules())

    def offer(self, owners: Mapping[str, Sequence[str]]) -> None:
        """From now on jobs may name these types, each for its owners (or ALL_OWNERS), and no
        others. It is on the server's disk when this returns."""
        arguments: list[Argument] = []
        for kind, names in owners.items():
            arguments += [kind, json.dumps(list(names))]
        self._scripts.run_durably("integrations_offer", *arguments)

    def types_for(self, owner: str) -> tuple[str, ...]:
        """What jobs of this owner may name."""
        with unavailable():
            offered = cast(dict[str, str], self._redis.hgetall(keys.INTEGRATIONS))
        return tuple(
            sorted(
                kind
                for kind, owners in offered.items()
                if {ALL_OWNERS, owner} & set(json.loads(owners))
            )
        )

    def check(self, integrations: Sequence[Integration], *, owner: str) -> None:
        """Raises InvalidRequestError for one that is not set up for this owner."""
        if not integrations:
            return
        here = self.types_for(owner)
        for number, each in enumerate(integrations):
            if each.type not in here:
                raise InvalidRequestError(
                    f"integrations.{number}: {each.type!r} is not set up here for you; set up: "
                    f"{', '.join(here) or 'none'}. The operator has to add [{each.type}] to the "
                    "file of FLANT5_INTEGRATIONS_FILE, with `python -m worker.integrations` "
                    "running (docs/integrations.md)",
                    param=f"integrations.{number}.type",
                )
