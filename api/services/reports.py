"""File reports and plans, made by child processes, a few at a time.

    python -m flant5_train.file_report FILE --model=DIRECTORY ...
    python -m flant5_train.forecast QUESTION

A malformed file can't harm the server, and the server neither loads a tokenizer nor blocks. Equal
requests share one run. Each file report is made once and stored with its file:

    HOME/files/<file-id>/report-<key>.json    deleted with the file

The key hashes all query parameters.
"""

import hashlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from api.http.errors import TooManyReportsError
from api.schemas.plans import ReportQuery
from api.settings import child_environment
from flant5_train.config import DEMO_MODEL
from flant5_train.protocol.file_report import FileReport
from flant5_train.protocol.forecast import ForecastRequest
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.storage.files import FileStore, StoredFile
from worker.jobs.storage.filesystem import write_whole
from worker.jobs.store.models import ModelCatalog

_SECONDS = 1800.0
_NUM_TAIL_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class ProcessOutput:
    """Exit code and standard output of a program."""

    code: int
    out: str


class ReportFailedError(Exception):
    """The program failed. The message is for the log."""


def report_argv(path: Path, query: ReportQuery, *, model: str | None) -> list[str]:
    """Returns the command of a report. `model` is the path or name that the trainer would load.
    Every argument from a caller was checked."""
    settings = query.model_dump(mode="json", exclude={"model", "wait_seconds"}, exclude_none=True)
    if model is not None:
        settings["model"] = model
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "flant5_train.file_report", *options, "--", str(path)]


def plan_argv(forecast_request: ForecastRequest) -> list[str]:
    """Returns the command of a plan. The question is JSON, and its caller-supplied values were
    checked."""
    return [sys.executable, "-m", "flant5_train.forecast", forecast_request.model_dump_json()]


class ReportPrograms:
    """Running programs. Each ends with the thread that started it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._is_closed = False

    def run(self, argv: list[str], *, good_codes: Collection[int]) -> ProcessOutput:
        """Runs a program and returns its output. Raises ReportFailedError for other exit codes,
        empty output and timeouts."""
        with self._lock:
            if self._is_closed:
                raise ReportFailedError("the server is stopping")
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=child_environment(),
                text=True,
            )
            self._running.add(process)
        try:
            out, err = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise ReportFailedError(f"no report after {_SECONDS:g} s") from error
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode not in good_codes or not out:
            output = (out + err).strip()[-_NUM_TAIL_CHARACTERS:]
            raise ReportFailedError(f"exit code {process.returncode}: {output}")
        return ProcessOutput(process.returncode, out)

    def close(self) -> None:
        """Kills all programs."""
        with self._lock:
            self._is_closed = True
            for process in self._running:
                process.kill()


MAX_RUNNING = 2
_MAX_WAITING = 8
"""Requests that wait for a program, each on a server thread. Beyond this, requests return at once,
with the program still running."""
_MAX_KEPT = 20
"""Maximum number of results that no caller has fetched yet."""

Made = TypeVar("Made")


class SubprocessRunner:
    """The reports and plans in progress."""

    def __init__(self) -> None:
        self._programs = ReportPrograms()
        # A program dies with the thread that started it, so these threads live as long as the
        # server.
        self._pool = ThreadPoolExecutor(MAX_RUNNING, thread_name_prefix="report")
        self._lock = threading.Lock()
        self._orders: dict[Hashable, Future[Any]] = {}
        self._may_wait = threading.BoundedSemaphore(_MAX_WAITING)

    def ask(
        self, key: Hashable, make: Callable[[ReportPrograms], Made], *, wait_seconds: float
    ) -> Made | None:
        """Returns the result of `make`, or None while it runs. A later call with an equal key
        returns the result of the first call. Raises TooManyReportsError, and the errors of
        `make`."""
        future = self._ordered(key, make)
        if not future.done() and self._may_wait.acquire(blocking=False):
            try:
                wait([future], timeout=wait_seconds)
            finally:
                self._may_wait.release()
        if not future.done():
            return None
        with self._lock:
            self._orders.pop(key, None)
        return cast(Made, future.result())

    def close(self) -> None:
        """Kills all running programs."""
        self._programs.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ordered(self, key: Hashable, make: Callable[[ReportPrograms], object]) -> Future[Any]:
        with self._lock:
            if found := self._orders.get(key):
                return found
            if sum(not future.done() for future in self._orders.values()) >= MAX_RUNNING:
                raise TooManyReportsError(
                    f"{MAX_RUNNING} reports or plans are in progress, the limit of this server;"
                    " retry later"
                )
            done = [key for key, future in self._orders.items() if future.done()]
            for old in done[:-_MAX_KEPT]:
                del self._orders[old]
            future = self._pool.submit(make, self._programs)
            self._orders[key] = future
            return future


FORMAT = 2
"""Increase this whenever the same query would give a different report."""
_REPORTED = (0, 1)
"""Maximum number of stored reports per file."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _ReportOrder:
    file: StoredFile
    argv: list[str]
    kept_at: Path


class FileReportService:
    """Service for file reports."""

    def __init__(self, files: FileStore, models: ModelCatalog, programs: SubprocessRunner) -> None:
        self._files = files
        self._models = models
        self._programs = programs

    def ask(self, file_id: str, query: ReportQuery, *, owner: str | None) -> FileReport | None:
        """Returns the report, or None while it is being made. `owner` limits the models that may be
        named, as in `ModelCatalog`.

        Raises NotFoundError for the file, InvalidRequestError for the model, and
        TooManyReportsError.
        """
        order = self._order(file_id, query, owner=owner)
        if report := _kept(order):
            return report
        return self._programs.ask(
            order.kept_at,
            lambda programs: _made(order, programs),
            wait_seconds=query.wait_seconds,
        )

    def _order(self, file_id: str, query: ReportQuery, *, owner: str | None) -> _ReportOrder:
        file = self._files.get(file_id)
        content = self._files.content_path(file.id)
        model = self._resolved(query.model, owner=owner)
        argv = report_argv(content, query, model=model)
        asked = json.dumps([FORMAT, argv[1:], _digest_of_vocabulary(model)])
        key = hashlib.sha256(asked.encode()).hexdigest()[:32]
        return _ReportOrder(file, argv, content.with_name(f"report-{key}.json"))

    def _resolved(self, model: str | None, *, owner: str | None) -> str | None:
        try:
            return None if model is None else self._models.resolve(model, owner=owner)
        except NotFoundError as error:
            raise InvalidRequestError(f"model: {error}", param="model") from error


def _made(order: _ReportOrder, programs: ReportPrograms) -> FileReport:
    report = FileReport.model_validate_json(programs.run(order.argv, good_codes=_REPORTED).out)
    # On disk every uploaded file is named `content`. Callers know models by other names.
    report = report.model_copy(update={"file": order.file.filename})
    # A missing vocabulary may be available next time.
    if report.tokens.note is None or report.tokens.model == DEMO_MODEL:
        _keep(report, order.kept_at)
    return report


def _kept(order: _ReportOrder) -> FileReport | None:
    try:
        return FileReport.model_validate_json(order.kept_at.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        _log.warning("report %s: not in this version's format, making a new one", order.kept_at)
        return None


def _keep(report: FileReport, path: Path) -> None:
    """Stores the report. Errors are only logged, because the response does not depend on it."""
    try:
        write_whole(path, report.model_dump_json() + "\n")
        kept = sorted(path.parent.glob("report-*.json"), key=lambda each: each.stat().st_mtime)
        for old in kept[:-_MAX_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("report %s: cannot store: %s", path, error)


def _digest_of_vocabulary(model: str | None) -> str | None:
    """Hashes the vocabulary of a model directory. It can change, unlike that of a hub name."""
    vocabulary = None if model is None else Path(model) / "spiece.model"
    if vocabulary is None or not vocabulary.is_file():
        return None
    return hashlib.sha256(vocabulary.read_bytes()).hexdigest()
