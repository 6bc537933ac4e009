"""Parser for the option `--integration` of `flant5 submit`."""

from typing import Any, get_args

from api.cli.errors import CommandError
from worker.jobs.integrations import IntegrationType

_EXPECTED = "expected TYPE:NAME=VALUE,..., such as wandb:project=chats,name=first"
_LISTS = frozenset({("wandb", "tags")})
_BOOLEANS = {"true": True, "false": False}


def integration(text: str) -> dict[str, Any]:
    """Returns the integration of a create request. The server validates its settings.

    >>> integration("wandb:project=chats,tags=a,tags=b")
    {'type': 'wandb', 'wandb': {'project': 'chats', 'tags': ['a', 'b']}}
    """
    kind, colon, rest = text.partition(":")
    types = get_args(IntegrationType)
    if not colon or kind not in types:
        raise CommandError(f"--integration {text}: {_EXPECTED}; types are {', '.join(types)}")
    settings: dict[str, Any] = {}
    for part in rest.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise CommandError(f"--integration {text}: found {part!r}; {_EXPECTED}")
        if (kind, name) in _LISTS:
            settings[name] = [*settings.get(name, []), value]
        elif name in settings:
            raise CommandError(f"--integration {text}: {name} is given twice")
        else:
            settings[name] = _BOOLEANS.get(value, value) if name == "private" else value
    return {"type": kind, kind: settings}
