"""The webhooks file, and the settings of the process that sends webhooks.

The file lists endpoints to call when a job ends. It is TOML, with one table per endpoint:

    [ci]
    url = "https://ci.example.org/hooks/flant5"
    secret = "whsec_..."
    owner = "alice"
    events = ["fine_tuning.job.succeeded", "fine_tuning.job.failed"]

`owner` is the owner of the jobs; "*", the default, means all owners. Without `events`, all three
kinds of outcomes are sent. Error messages never contain secrets or URLs, which may contain secrets.
"""

import base64
import binascii
import re
import tomllib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from worker.jobs.job import Status
from worker.jobs.settings import SharedSettings
from worker.jobs.store.outbox import ALL_OWNERS, WebhookSubscription

EVENT_TYPES = {
    f"fine_tuning.job.{status}": status
    for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
}
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of all secrets
_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)


class WebhooksFileError(Exception):
    """The webhooks file is invalid. The message has the position and the expected value."""


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isascii() or any(character <= " " for character in url):
        raise ValueError("not an http or https URL with a host; expected https://host/path")
    return url


def _checked_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    expected = "expected `whsec_` and 24 to 64 random bytes in base64"
    if not text.startswith(_SECRET_PREFIX):
        raise ValueError(f"it does not begin with `whsec_`; {expected}")
    try:
        num_bytes = len(_key(text))
    except binascii.Error:
        raise ValueError(f"the part after `whsec_` is not base64; {expected}") from None
    if not 24 <= num_bytes <= 64:
        raise ValueError(f"it has {num_bytes} bytes; {expected}")
    return secret


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)


def _checked_events(events: tuple[str, ...]) -> tuple[str, ...]:
    known = ", ".join(EVENT_TYPES)
    if not events:
        raise ValueError(f"found none; expected some of {known}")
    for event in events:
        if event not in EVENT_TYPES:
            raise ValueError(f"found {event!r}; expected some of {known}")
    return events


def _checked_owner(owner: str) -> str:
    if not owner:
        raise ValueError('it is empty; expected the name of a key\'s owner, or "*"')
    return owner


class Endpoint(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    url: Annotated[str, AfterValidator(_checked_url)]
    secret: Annotated[SecretStr, AfterValidator(_checked_secret)]
    owner: Annotated[str, AfterValidator(_checked_owner)] = ALL_OWNERS
    events: Annotated[tuple[str, ...], AfterValidator(_checked_events)] = tuple(EVENT_TYPES)

    @property
    def key(self) -> bytes:
        """The key that signs its deliveries."""
        return _key(self.secret.get_secret_value())

    def subscription(self, *, max_age_seconds: float) -> WebhookSubscription:
        statuses = frozenset(EVENT_TYPES[event] for event in self.events)
        return WebhookSubscription(self.name, self.owner, statuses, max_age_seconds)


def read_endpoints(path: Path) -> tuple[Endpoint, ...]:
    """Returns the endpoints in the file. Raises WebhooksFileError."""
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise WebhooksFileError(f"webhooks file {path} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        # The message has only the position: the line itself may contain a secret.
        raise WebhooksFileError(f"webhooks file {path} is not valid TOML: {error}") from error
    return tuple(
        _read_table(name, table, where=f"webhooks file {path}{_line(text, name)}")
        for name, table in tables.items()
    )


def _read_table(name: str, table: object, *, where: str) -> Endpoint:
    found = f"{where}: endpoint {name!r}"
    if not isinstance(table, dict):
        raise WebhooksFileError(
            f"{found}: found a value; expected a table that begins with `[{name}]`"
        )
    if not _NAME.fullmatch(name):
        expected = "expected a name of 1 to 64 letters, digits, '_' or '-'"
        raise WebhooksFileError(f"{found}: {expected}")
    if "name" in table:
        raise WebhooksFileError(f"{found}: field 'name' is unknown")
    try:
        return Endpoint.model_validate(table | {"name": name})
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        raise WebhooksFileError(f"{found}: field {field!r}: {message}") from None


def _line(text: str, name: str) -> str:
    """Returns ", line N" for the first line that looks like the table's header, else ""."""
    header = re.compile(rf"\s*\[?\s*[\"']?{re.escape(name)}[\"']?\s*[\]=.]")
    for number, line in enumerate(text.splitlines(), start=1):
        if header.match(line):
            return f", line {number}"
    return ""


class WebhookSettings(SharedSettings):
    """Built once in `python -m worker.webhooks`."""

    webhooks_file: Path
    """TOML file with the endpoints to call when a job ends (docs/webhooks.md)."""
    webhook_timeout_seconds: float = Field(15.0, gt=0)
    """Timeout of one webhook request, in seconds."""
    webhook_retry_seconds: float = Field(5.0, gt=0)
    """Seconds of delay before the first retry. Quadruples before each further one, up to six
    hours."""
    webhook_give_up_hours: float = Field(72.0, gt=0)
    """Hours after the end of the job beyond which a failed delivery is not retried."""

    @property
    def lease_seconds(self) -> float:
        """Seconds after which an unsettled delivery is started again.

        Longer than the request timeout, with time to record the outcome in Redis.
        """
        return 2 * self.webhook_timeout_seconds + 1

    @property
    def give_up_seconds(self) -> float:
        return self.webhook_give_up_hours * 3600
