"""`flant5 keys`: the API keys file, edited where the server runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from api.cli.errors import CommandError, reported
from api.cli.jobs import AsJson
from api.cli.printing import print_json, print_table
from api.cli.settings import KeysSettings
from api.keys import KeyHash, KeysFileError, check_name, hash_of, new_key, read_keys

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

Name = Annotated[str, typer.Argument(help="Whose key it is: letters, digits, '_', '.', '@', '-'.")]
KeysFile = Annotated[
    Path | None, typer.Option("--file", help="The keys file; FLANT5_API_KEYS_FILE unless given.")
]


@app.command()
def create(name: Name, file: KeysFile = None, as_json: AsJson = False) -> None:
    """Make a key. It is shown once; the file holds only its hash."""
    with reported(as_json=as_json):
        path = _path(file)
        known = _read(path) if path.exists() else ()
        if any(key.name == name for key in known):
            raise CommandError(f"{path} has a key named {name!r}; revoke it, or take another name")
        key = new_key()
        _write(path, [*known, _entry(name, key)])
        if as_json:
            print_json({"name": name, "key": key})
        else:
            typer.echo(key)


@app.command("list")
def list_keys(file: KeysFile = None, as_json: AsJson = False) -> None:
    """List whose keys there are."""
    with reported(as_json=as_json):
        known = _read(_path(file))
        if as_json:
            print_json([{"name": key.name} for key in known])
        else:
            print_table(("NAME",), [(key.name,) for key in known])


@app.command()
def revoke(name: Name, file: KeysFile = None, as_json: AsJson = False) -> None:
    """Take a key back; a running server refuses it from now on."""
    with reported(as_json=as_json):
        path = _path(file)
        known = _read(path)
        left = [key for key in known if key.name != name]
        if len(left) == len(known):
            raise CommandError(f"{path} has no key named {name!r}")
        _write(path, left)
        if as_json:
            print_json({"name": name, "revoked": True})
        else:
            typer.echo(f"the key of {name} is revoked")


def _path(file: Path | None) -> Path:
    path = file or KeysSettings().api_keys_file
    if path is None:
        raise CommandError("which keys file? set FLANT5_API_KEYS_FILE, or give --file")
    return path


def _read(path: Path) -> tuple[KeyHash, ...]:
    try:
        return read_keys(path)
    except KeysFileError as error:
        raise CommandError(str(error)) from error


def _entry(name: str, key: str) -> KeyHash:
    try:
        check_name(name)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return KeyHash(name=name, digest=hash_of(key))


def _write(path: Path, keys: Sequence[KeyHash]) -> None:
    """In one step, so that a running server never reads half a file."""
    draft = path.with_name(path.name + ".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{key.name}:{key.digest}\n" for key in keys), encoding="utf-8")
        if path.exists():
            # The server may be another user, who could read it so far.
            draft.chmod(path.stat().st_mode & 0o777)
        os.replace(draft, path)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror}") from error
