"""`flant5 up`: runs the whole service in the foreground.

A lock allows one `flant5 up` per HOME. Leftover processes of a killed one hold the lock too.
"""

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from api.cli.client import CommandError, reported
from api.cli.settings import DEFAULT_URL, UpSettings
from api.cli.views.format import print_json
from api.settings import ApiSettings
from worker.jobs.errors import StartRefusedError
from worker.jobs.settings import settings_fault, temporary_directory
from worker.jobs.startup.home_check import check_temporary_directory, prepare_home
from worker.jobs.storage.paths import Home

if TYPE_CHECKING:
    from api.cli.stack.stack import Stack


_POLL_SECONDS = 0.1


@contextmanager
def locked(path: Path, *, patience_seconds: float) -> Iterator[int]:
    """Yields the descriptor of the lock. Processes that inherit it hold the lock too.

    Raises CommandError at once if another `flant5 up` is running. If that one was killed, waits up
    to `patience_seconds` for its leftover processes. Without this, two servers would corrupt one
    data directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + patience_seconds
        while not _try_lock(descriptor):
            owner = _owner(descriptor)
            if owner is not None and Path(f"/proc/{owner}").exists():
                raise CommandError(
                    f"another `flant5 up` (pid {owner}) uses {path.parent}; "
                    "stop it, or choose another --home"
                )
            if time.monotonic() > deadline:
                raise CommandError(
                    f"processes of a previous `flant5 up` on {path.parent} are still running after "
                    f"{patience_seconds:g} s (`fuser {path}` shows them)"
                )
            time.sleep(_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(descriptor: int) -> int | None:
    """Returns the pid in the file; None if its owner has not written it yet."""
    text = os.pread(descriptor, 32, 0).decode()
    return int(text) if text.isdecimal() else None


_LEFTOVER_SECONDS = 90.0


def up(
    home: Annotated[Path | None, typer.Option(help="Data directory (default: .flant5).")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (default: 8000). 0 selects a free port.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document when the service is ready.")
    ] = False,
) -> None:
    """Run the whole service until Ctrl-C: Valkey, API, worker, serving process, controller."""
    # Imported here: the Redis client adds a third to the import time of other commands.
    from api.cli.stack.stack import Stack

    with reported(as_json=as_json):
        settings = _settings(home=home, host=host, port=port)
        root = settings.home.resolve()
        _check_directories(Home(root))
        with locked(root / "up.lock", patience_seconds=_LEFTOVER_SECONDS) as lock:
            stack = Stack(settings, lock=lock, notify=_notify)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda *_: stack.request_stop())
            _run(stack, root, announce=print_json if as_json else _announce)


def _check_directories(home: Home) -> None:
    """Raises CommandError if the processes can't use HOME or the temporary directory."""
    try:
        prepare_home(home)
        check_temporary_directory(temporary_directory())
    except StartRefusedError as error:
        raise CommandError(str(error)) from error


def _run(stack: "Stack", root: Path, *, announce: Callable[[dict[str, object]], None]) -> None:
    ready_file = root / "up.json"
    ready_file.unlink(missing_ok=True)  # left by a killed `flant5 up`
    try:
        if stack.start():
            ready = {"pid": os.getpid(), "url": f"{stack.url}/v1", "home": str(root)}
            _write(ready_file, ready)
            announce(ready)
            stack.watch()
        _notify("stopping; the worker is saving a checkpoint (press Ctrl-C again to kill it)")
    finally:
        ready_file.unlink(missing_ok=True)
        stack.stop()


def _settings(*, home: Path | None, host: str | None, port: int | None) -> UpSettings:
    given = {"home": home, "host": host, "port": port}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        settings = UpSettings(**options)
        settings = settings.model_copy(update={"port": _checked_port(settings)})
        # Reports invalid API settings before anything is started.
        ApiSettings(home=settings.home, host=settings.host, port=settings.port)
    except ValidationError as error:
        raise CommandError(settings_fault(error)) from error
    return settings


def _checked_port(settings: UpSettings) -> int:
    """Returns the port to listen on, after binding it once.

    Without this check, another program on the port could answer in place of the API.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.create_server((settings.host, settings.port), family=family) as probe:
            port: int = probe.getsockname()[1]
            return port
    except OSError as error:
        raise CommandError(
            f"can't listen on {settings.host}, port {settings.port} ({error.strerror}); "
            "--port 0 selects a free port"
        ) from error


def _write(path: Path, document: dict[str, object]) -> None:
    """Writes a file atomically: readers never see a part of it."""
    draft = path.with_name(path.name + ".draft")
    draft.write_text(json.dumps(document) + "\n", encoding="utf-8")
    draft.replace(path)


def _announce(ready: dict[str, object]) -> None:
    prefix = "" if ready["url"] == DEFAULT_URL else f"FLANT5_URL={ready['url']} "
    typer.echo(f"flant5 is ready at {ready['url']} (home {ready['home']}, pid {ready['pid']})")
    typer.echo(f"submit a job with `{prefix}flant5 submit conversations.json --watch`")


def _notify(text: str) -> None:
    typer.echo(text, err=True)
