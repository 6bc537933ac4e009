"""The integrations file: the operator's accounts with trackers and hubs. TOML, one table each.

    [wandb]
    api_key = "..."

    [mlflow]
    tracking_uri = "https://mlflow.example.org"
    username = "flant5"
    password = "..."
    owners = ["alice", "bob"]

`owners` are the owners of jobs that may use the account; "*", the default, means all owners.
Messages never contain secrets or addresses, which may contain secrets.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from worker.jobs.store.outbox import ALL_OWNERS


class IntegrationsFileError(Exception):
    """The integrations file is invalid. The message has the position and the expected value."""


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        is_good = is_good and parts.username is None and not parts.query and not parts.fragment
    except ValueError:
        is_good = False
    if not is_good or any(character <= " " for character in url):
        raise ValueError(
            "not a plain http or https URL; expected https://host, without password, query or "
            "fragment"
        )
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_checked_url)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class Account(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    owners: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = (
        ALL_OWNERS,
    )

    def is_for(self, owner: str) -> bool:
        return bool({ALL_OWNERS, owner} & set(self.owners))

    @property
    def is_final_only(self) -> bool:
        """True if jobs are exported only after they have ended."""
        return False

    @property
    def allowed_namespaces(self) -> tuple[str, ...] | None:
        """Namespaces that jobs may write to, or None if the type has no namespaces."""
        return None

    def revealed(self) -> dict[str, Any]:
        """Returns the fields with secrets. Only for the pipe to the export process."""
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in self
        }


class WandbAccount(Account):
    api_key: Secret | None = None
    base_url: Url = "https://api.wandb.ai"
    mode: Literal["online", "offline"] = "online"
    """`offline` writes files into the run directory, for `wandb sync`."""

    @property
    def is_final_only(self) -> bool:
        """Another process cannot continue an offline run, so its files are written in one pass."""
        return self.mode == "offline"

    @model_validator(mode="after")
    def _key_for_online(self) -> Self:
        if self.mode == "online" and self.api_key is None:
            raise ValueError("api_key: missing; it is required unless mode = 'offline'")
        return self


class MlflowAccount(Account):
    tracking_uri: Url
    username: str | None = None
    password: Secret | None = None
    token: Secret | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("expected username and password, or neither")
        if self.username is not None and self.token is not None:
            raise ValueError("found a username and a token; expected one of them")
        return self


class HubAccount(Account):
    token: Secret
    namespaces: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[\w.-]+$")], ...], Field(min_length=1)
    ]
    """Users and organizations of the hub that jobs may push to."""
    endpoint: Url = "https://huggingface.co"
    transfer: Literal["xet", "lfs"] = "xet"
    """Upload protocol for weights. Use Git LFS for a hub without Xet storage."""

    @property
    def allowed_namespaces(self) -> tuple[str, ...] | None:
        return self.namespaces


ACCOUNTS: dict[str, type[Account]] = {
    "wandb": WandbAccount,
    "mlflow": MlflowAccount,
    "huggingface": HubAccount,
}
"""Type of integration, which is the name of its table -> account class."""


def read_accounts(path: Path) -> dict[str, Account]:
    """Returns the accounts by type. Raises IntegrationsFileError."""
    where = f"integrations file {path}"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrationsFileError(f"{where} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise IntegrationsFileError(f"{where} is not valid TOML: {error}") from error
    return {name: _read_table(name, table, where=where) for name, table in tables.items()}


def _read_table(name: str, table: object, *, where: str) -> Account:
    if name not in ACCOUNTS:
        raise IntegrationsFileError(
            f"{where}: [{name}] is unknown; expected some of {', '.join(ACCOUNTS)}"
        )
    if not isinstance(table, dict):
        raise IntegrationsFileError(f"{where}: {name}: found a value; expected a table, [{name}]")
    try:
        return ACCOUNTS[name].model_validate(table)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = "".join(f"{part}: " for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        raise IntegrationsFileError(f"{where}: [{name}]: {field}{message}") from None
