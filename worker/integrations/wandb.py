"""Integration module for Weights & Biases: exports a job to a run with the job's id.

W&B accepts only increasing steps. Online, the export continues at the run's step on the server.
Offline, a process cannot continue an earlier one's files: the complete run is written after the job
has ended, replacing earlier files.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from worker.integrations.accounts import WandbAccount
from worker.integrations.export_task import (
    ExportError,
    ExportReporter,
    ExportTask,
    RunTailer,
    flatten,
)
from worker.jobs.integrations import WandbRun
from worker.jobs.job import Status

OFFLINE_FOLDER = "wandb-offline"
"""Folder in the run directory."""
_MAX_TAG = 64
_EXIT_CODES = {Status.FAILED: 1, Status.CANCELLED: 255}


def export(task: ExportTask, *, run: RunTailer, reporter: ExportReporter) -> None:
    """Exports a job. Raises ExportError."""
    account = WandbAccount.model_validate(task.account)
    if account.mode == "offline":
        folder = task.run_directory / OFFLINE_FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _export(task, run, reporter, folder)
        return
    with tempfile.TemporaryDirectory(prefix="flant5-wandb-") as folder_name:
        _export(task, run, reporter, Path(folder_name))


def _export(task: ExportTask, run: RunTailer, reporter: ExportReporter, folder: Path) -> None:
    try:
        tracked = _begun(task, folder)
        if tracked.url:
            reporter.url(tracked.url)
        first = int(tracked.step)
        described: dict[str, str] = {}
        for steps in run.batches():
            for step in steps:
                if step.number >= first:
                    tracked.log(step.points, step=step.number)
            if (found := _described(run.data)) != described:
                described = found
                tracked.config.update(found, allow_val_change=True)
        if run.status is not None:
            tracked.summary["flant5/status"] = run.status.value
        exit_code = 0 if run.status is None else _EXIT_CODES.get(run.status, 0)
        tracked.finish(exit_code=exit_code)
    except wandb.Error as error:
        raise ExportError(f"Weights & Biases: {type(error).__name__}: {error}") from error


def _begun(task: ExportTask, folder: Path) -> Any:
    account = WandbAccount.model_validate(task.account)
    wanted: WandbRun = task.settings
    spec = task.spec
    key = account.api_key
    settings = wandb.Settings(
        api_key=None if key is None else key.get_secret_value(),
        base_url=account.base_url,
        mode=account.mode,
        # The machine and programs of this process are not those of the run.
        console="off",
        disable_code=True,
        disable_git=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
        silent=True,
    )
    return wandb.init(
        project=wanted.project,
        entity=wanted.entity,
        id=task.job_id,
        resume="allow" if account.mode == "online" else None,
        name=wanted.name or task.job_id,
        tags=sorted({*(wanted.tags or ()), "flant5", spec.model[-_MAX_TAG:]}),
        config=_config(task),
        dir=str(folder),
        settings=settings,
    )


def _config(task: ExportTask) -> dict[str, object]:
    spec = task.spec
    return {
        **spec.hyperparameters.model_dump(mode="json"),
        "seed": spec.seed,
        "model": spec.model,
        "training_file": spec.training_file,
        "validation_file": spec.validation_file,
        "metadata": dict(spec.metadata),
        "flant5_job_id": task.job_id,
        "flant5_owner": task.owner,
        "flant5_fine_tuned_model": task.fine_tuned_model,
    }


def _described(data: Mapping[str, object]) -> dict[str, str]:
    """Returns the data summaries with dotted names."""
    values: dict[str, str] = {}
    for split, report in data.items():
        values |= flatten(report, prefix=f"data.{split}")
    return values
