"""`python -m worker.integrations.exporter`: exports one job to one integration while the job runs.

The scheduler starts it. The protocol is in `worker.integrations.export_task`. No other module
imports this one: as a program it is `__main__`, and its classes would exist twice.
"""

import importlib
import logging
import sys
import threading
from io import FileIO

from worker.integrations.export_task import (
    KINDS,
    ExportError,
    ExportReporter,
    ExportTask,
    MetricReader,
    RunTailer,
)
from worker.jobs.storage.paths import RunDirectory


def main() -> int:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    reporter = ExportReporter()
    # Unbuffered: the reading thread would hold a buffer's lock when the process exits.
    messages = FileIO(0, closefd=False)
    task = ExportTask.model_validate_json(messages.readline())
    reader = MetricReader(RunDirectory(task.run_directory).progress)
    run = RunTailer(reader, reporter, messages)
    threading.Thread(target=run.watch_scheduler, daemon=True).start()
    try:
        module = importlib.import_module(KINDS[task.type].module)
        module.export(task, run=run, reporter=reporter)
    except ExportError as error:
        reporter.problem(str(error), is_final=error.is_final)
        return 1
    except (ImportError, OSError, ValueError) as error:
        reporter.problem(f"{_kind(error)}: {error}")
        return 1
    reporter.done()
    return 0


def _kind(error: Exception) -> str:
    return type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
