"""`flant5 keys`: edits the API keys file on the server's host."""

import os
from collections.abc import Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from api.auth import (
    DEFAULT_SCOPES,
    KeyHash,
    KeysFileError,
    Scope,
    check_name,
    check_scopes,
    hash_of,
    new_key,
    read_keys,
)
from api.cli.client import CommandError, reported
from api.cli.commands.jobs import AsJson
from api.cli.settings import KeysSettings
from api.cli.views.format import print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")

Name = Annotated[str, typer.Argument(help="Owner of the key: letters, digits, '_', '.', '@', '-'.")]
KeysFile = Annotated[
    Path | None, typer.Option("--file", help="Keys file (default: FLANT5_API_KEYS_FILE).")
]


Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="read, submit or admin; can be repeated. Default: read and submit, for NAME's own "
        "objects. admin: objects of all owners.",
    ),
]
Days = Annotated[
    float | None, typer.Option("--days", min=0, help="Expires after N days (default: never).")
]
Overlap = Annotated[float, typer.Option(min=0, help="Hours during which the old keys stay valid.")]
KeyId = Annotated[
    str | None, typer.Option("--id", help="Id of the key to revoke (default: all of NAME's keys).")
]


@app.command()
def create(
    name: Name,
    scope: Scopes = None,
    days: Days = None,
    file: KeysFile = None,
    as_json: AsJson = False,
) -> None:
    """Create a key. It is shown once; the file contains only its hash."""
    with reported(as_json=as_json):
        path = _path(file)
        known = _read(path) if path.exists() else ()
        if any(key.name == name for key in known):
            raise CommandError(
                f"{path} already has a key named {name!r}; replace it with `flant5 keys rotate "
                f"{name}`, or choose another name"
            )
        expires_at = None if days is None else _now() + timedelta(days=days)
        key = new_key()
        entry = KeyHash(_checked(name), hash_of(key), _scopes(scope), expires_at)
        _write(path, [*known, entry])
        _show_new(entry, key, as_json=as_json)


@app.command()
def rotate(
    name: Name, overlap_hours: Overlap = 24.0, file: KeysFile = None, as_json: AsJson = False
) -> None:
    """Create a new key with the scopes of NAME's newest key, and expire the old keys."""
    with reported(as_json=as_json):
        path = _path(file)
        known = _read(path)
        newest = next((key for key in reversed(known) if key.name == name), None)
        if newest is None:
            raise CommandError(f"{path} has no key named {name!r}; use `flant5 keys create`")
        end = _now() + timedelta(hours=overlap_hours)
        key = new_key()
        entry = replace(newest, digest=hash_of(key), expires_at=None)
        ending = [_ending(each, end) if each.name == name else each for each in known]
        _write(path, [*ending, entry])
        _show_new(entry, key, as_json=as_json)


@app.command("list")
def list_keys(file: KeysFile = None, as_json: AsJson = False) -> None:
    """List keys with their scopes and expiry."""
    with reported(as_json=as_json):
        known = _read(_path(file))
        if as_json:
            print_json([_shown(key) for key in known])
            return
        now = _now()
        rows = [
            (key.name, key.id, _text(key.scopes), _expiry(key) if key.is_good(now) else "expired")
            for key in known
        ]
        print_table(("NAME", "ID", "SCOPES", "EXPIRES"), rows)


@app.command()
def revoke(
    name: Name, key_id: KeyId = None, file: KeysFile = None, as_json: AsJson = False
) -> None:
    """Revoke keys. A running server rejects them immediately."""
    with reported(as_json=as_json):
        path = _path(file)
        known = _read(path)
        revoked = [key for key in known if key.name == name and key_id in (None, key.id)]
        if not revoked:
            of_id = "" if key_id is None else f" with id {key_id!r}"
            raise CommandError(f"{path} has no key named {name!r}{of_id}")
        _write(path, [key for key in known if key not in revoked])
        if as_json:
            print_json({"name": name, "ids": [key.id for key in revoked], "revoked": True})
        else:
            which = f"the key of {name}" if len(revoked) == 1 else f"all keys of {name}"
            typer.echo(f"revoked {which}")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _ending(key: KeyHash, end: datetime) -> KeyHash:
    return (
        key if key.expires_at is not None and key.expires_at < end else replace(key, expires_at=end)
    )


def _show_new(entry: KeyHash, key: str, *, as_json: bool) -> None:
    if as_json:
        print_json({**_shown(entry), "key": key})
    else:
        typer.echo(key)


def _shown(key: KeyHash) -> dict[str, object]:
    expires_at = None if key.expires_at is None else int(key.expires_at.timestamp())
    scopes = [scope for scope in Scope if scope in key.scopes]
    return {"name": key.name, "id": key.id, "scopes": scopes, "expires_at": expires_at}


def _text(scopes: Set[Scope]) -> str:
    return ", ".join(scope for scope in Scope if scope in scopes)


def _expiry(key: KeyHash) -> str:
    return "" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M} UTC"


def _path(file: Path | None) -> Path:
    path = file or KeysSettings().api_keys_file
    if path is None:
        raise CommandError("no keys file given; set FLANT5_API_KEYS_FILE or pass --file")
    return path


def _read(path: Path) -> tuple[KeyHash, ...]:
    try:
        return read_keys(path)
    except KeysFileError as error:
        raise CommandError(str(error)) from error


def _checked(name: str) -> str:
    try:
        check_name(name)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return name


def _scopes(given: Sequence[str] | None) -> frozenset[Scope]:
    try:
        return check_scopes(given) if given else DEFAULT_SCOPES
    except ValueError as error:
        raise CommandError(str(error)) from error


def _write(path: Path, keys: Sequence[KeyHash]) -> None:
    """Replaces the file atomically. Without this, a running server could read half a file."""
    draft = path.with_name(path.name + ".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{key.line}\n" for key in keys), encoding="utf-8")
        if path.exists():
            # Keep the mode: the server may run as another user.
            draft.chmod(path.stat().st_mode & 0o777)
        os.replace(draft, path)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror}") from error
