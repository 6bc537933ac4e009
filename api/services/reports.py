"""File reports: each is made once, a few at a time, and stored with its file.

HOME/files/<file-id>/report-<key>.json    deleted with the file; the key hashes all query parameters
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from api.program_desk import ProgramDesk
from api.report_process import ReportPrograms, report_argv
from api.schemas.reports import ReportQuery
from flant5_train.config import DEMO_MODEL
from flant5_train.protocol.file_report import FileReport
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.storage.files import FileStore, StoredFile
from worker.jobs.storage.filesystem import write_whole
from worker.jobs.store.models import ModelCatalog

FORMAT = 2
"""Increase this whenever the same query would give a different report."""
_REPORTED = (0, 1)
_MAX_KEPT = 20
"""Maximum number of stored reports per file."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Order:
    file: StoredFile
    argv: list[str]
    kept_at: Path


class ReportDesk:
    """Service for file reports."""

    def __init__(self, files: FileStore, models: ModelCatalog, programs: ProgramDesk) -> None:
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


def _made(order: _Order, programs: ReportPrograms) -> FileReport:
    report = FileReport.model_validate_json(programs.run(order.argv, good_codes=_REPORTED).out)
    # On disk every uploaded file is named `content`. Callers know models by other names.
    report = report.model_copy(update={"file": order.file.filename})
    # A missing vocabulary may be available next time.
    if report.tokens.note is None or report.tokens.model == DEMO_MODEL:
        _keep(report, order.kept_at)
    return report


def _kept(order: _Order) -> FileReport | None:
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
