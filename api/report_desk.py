"""Reports on files: each is made once, a few at a time, and kept beside its file.

HOME/files/<file-id>/report-<key>.json    goes with the file; the key stands for all that was asked
"""

import hashlib
import json
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from api.errors import TooManyReportsError
from api.report_process import ReportPrograms, report_argv
from api.schemas.reports import ReportQuery
from flant5_train.config import DEMO_MODEL
from flant5_train.file_report.format import FileReport
from worker.jobs.durable import write_whole
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.files import FileStore, StoredFile
from worker.jobs.models import ModelCatalog

FORMAT = 1
"""Raised whenever the same question would be answered differently."""
MAX_RUNNING = 2
_MAX_WAITING = 8
"""Requests that wait for a report; another one is told at once that it is being made. Each takes a
thread of the server."""
_MAX_KEPT = 20
"""Reports kept per file, and of those that can't be kept on disk, until they are asked for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Order:
    file: StoredFile
    argv: list[str]
    kept_at: Path


class ReportDesk:
    """Where reports are asked for."""

    def __init__(self, files: FileStore, models: ModelCatalog) -> None:
        self._files = files
        self._models = models
        self._programs = ReportPrograms()
        # Its threads live as long as the server: a program dies with the thread that started it.
        self._pool = ThreadPoolExecutor(MAX_RUNNING, thread_name_prefix="report")
        self._lock = threading.Lock()
        self._orders: dict[Path, Future[FileReport]] = {}
        self._may_wait = threading.BoundedSemaphore(_MAX_WAITING)

    def ask(self, file_id: str, query: ReportQuery, *, owner: str | None) -> FileReport | None:
        """The report, or None while it is being made. `owner` limits which model may be named, as
        in `ModelCatalog`.

        Raises NotFoundError for the file, InvalidRequestError for the model, TooManyReportsError.
        """
        order = self._order(file_id, query, owner=owner)
        if report := _kept(order):
            return report
        future = self._ordered(order)
        if not future.done() and self._may_wait.acquire(blocking=False):
            try:
                wait([future], timeout=query.wait_seconds)
            finally:
                self._may_wait.release()
        if not future.done():
            return None
        with self._lock:
            self._orders.pop(order.kept_at, None)
        return future.result()

    def close(self) -> None:
        """Ends what is being made."""
        self._programs.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _order(self, file_id: str, query: ReportQuery, *, owner: str | None) -> _Order:
        file = self._files.get(file_id)
        content = self._files.content_path(file.id)
        model = self._resolved(query.model, owner=owner)
        argv = report_argv(content, query, model=model)
        asked = json.dumps([FORMAT, argv[1:], _digest_of_vocabulary(model)])
        key = hashlib.sha256(asked.encode()).hexdigest()[:32]
        return _Order(file, argv, content.with_name(f"report-{key}.json"))

    def _resolved(self, model: str | None, *, owner: str | None) -> str | None:
        try:
            return None if model is None else self._models.resolve(model, owner=owner)
        except NotFoundError as error:
            raise InvalidRequestError(f"model: {error}", param="model") from error

    def _ordered(self, order: _Order) -> Future[FileReport]:
        with self._lock:
            if found := self._orders.get(order.kept_at):
                return found
            if sum(not future.done() for future in self._orders.values()) >= MAX_RUNNING:
                raise TooManyReportsError(
                    f"{MAX_RUNNING} reports are being made, and no more at a time; ask again"
                )
            done = [path for path, future in self._orders.items() if future.done()]
            for path in done[:-_MAX_KEPT]:
                del self._orders[path]
            future = self._pool.submit(self._make, order)
            self._orders[order.kept_at] = future
            return future

    def _make(self, order: _Order) -> FileReport:
        report = self._programs.run(order.argv)
        # On our disk every uploaded file is called `content`; models have other names for callers.
        report = report.model_copy(update={"file": order.file.filename})
        # A vocabulary that is not here may be here next time.
        if report.tokens.note is None or report.tokens.model == DEMO_MODEL:
            _keep(report, order.kept_at)
        return report


def _kept(order: _Order) -> FileReport | None:
    try:
        return FileReport.model_validate_json(order.kept_at.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        _log.warning("%s is no report of this version; it is made anew", order.kept_at)
        return None


def _keep(report: FileReport, path: Path) -> None:
    """The answer does not depend on it."""
    try:
        write_whole(path, report.model_dump_json() + "\n")
        kept = sorted(path.parent.glob("report-*.json"), key=lambda each: each.stat().st_mtime)
        for old in kept[:-_MAX_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s not kept: %s", path, error)


def _digest_of_vocabulary(model: str | None) -> str | None:
    """A directory can get another vocabulary; a hub name can't."""
    vocabulary = None if model is None else Path(model) / "spiece.model"
    if vocabulary is None or not vocabulary.is_file():
        return None
    return hashlib.sha256(vocabulary.read_bytes()).hexdigest()
