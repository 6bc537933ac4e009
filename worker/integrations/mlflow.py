"""Integration module for MLflow: exports a job to a run.

The run is found by its tag `flant5.job_id`. Each curve continues after its last step on the server.
`MlflowClient` is a minimal client for MLflow's REST API (docs: mlflow.org, "REST API").
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from worker.integrations.accounts import MlflowAccount
from worker.integrations.export_task import (
    ExportError,
    ExportReporter,
    ExportTask,
    RunTailer,
    Step,
    flatten,
)
from worker.jobs.http_client import REJECTED, NetworkSettingsError, open_client, through_proxy
from worker.jobs.integrations import MlflowRun
from worker.jobs.job import Status

_TIMEOUT_SECONDS = 60.0
_MAX_SHOWN = 300


class MlflowError(ExportError):
    """The server rejected a request. `code` is MLflow's error code."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class MlflowClient:
    """Client of one account. Every call raises MlflowError."""

    def __init__(self, account: MlflowAccount) -> None:
        auth, headers = None, {}
        if account.username is not None and account.password is not None:
            auth = httpx.BasicAuth(account.username, account.password.get_secret_value())
        elif account.token is not None:
            headers = {"authorization": f"Bearer {account.token.get_secret_value()}"}
        self._proxy = through_proxy(account.tracking_uri)
        try:
            self._http = open_client(
                base_url=f"{account.tracking_uri}/api/2.0/mlflow/",
                auth=auth,
                headers=headers,
                timeout=_TIMEOUT_SECONDS,
            )
        except NetworkSettingsError as error:
            raise MlflowError(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        return self._answer(path, "GET", params=parameters)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self._answer(path, "POST", json=body)

    def _answer(self, path: str, method: str, **content: Any) -> Any:
        try:
            response = self._http.request(method, path, **content)
        except REJECTED as error:
            # Only the class name: some messages contain the URL.
            raise MlflowError(
                f"cannot reach MLflow for {path}{self._proxy} ({type(error).__name__})"
            ) from error
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_success and isinstance(answer, dict):
            return answer
        fields = answer if isinstance(answer, dict) else {}
        code, message = str(fields.get("error_code", "")), str(fields.get("message", ""))
        raise MlflowError(
            f"MLflow answered {path} with HTTP {response.status_code} {code} "
            f"{message[:_MAX_SHOWN]}".rstrip(),
            code=code,
        )


JOB_TAG = "flant5.job_id"
_MAX_METRICS, _MAX_NAMED = 1000, 100
"""Maximum numbers of points, and of params or tags, in one request."""
_MAX_PARAM, _MAX_TAG = 6000, 5000
_ENDS = {
    Status.SUCCEEDED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "KILLED",
}


def export(task: ExportTask, *, run: RunTailer, reporter: ExportReporter) -> None:
    """Exports a job while it runs. Raises ExportError."""
    account = MlflowAccount.model_validate(task.account)
    with MlflowClient(account) as client:
        experiment = _experiment(client, task.settings)
        found = _found(client, experiment, task) or _made(client, experiment, task)
        tracked = _Tracked(client, run_id=found["info"]["run_id"], last=_last_steps(found))
        where = f"{account.tracking_uri}/#/experiments/{quote(experiment)}/runs/{tracked.run_id}"
        reporter.url(where)
        tracked.begin(task)
        for steps in run.batches():
            tracked.log(steps)
            tracked.describe(run.data)
        tracked.end(run.status)


def _experiment(client: MlflowClient, wanted: MlflowRun) -> str:
    """Returns the experiment's id. Creates the experiment if needed."""
    try:
        return str(client.post("experiments/create", {"name": wanted.experiment})["experiment_id"])
    except MlflowError as error:
        if error.code != "RESOURCE_ALREADY_EXISTS":
            raise
    name = {"experiment_name": wanted.experiment}
    found = client.get("experiments/get-by-name", name)["experiment"]
    if found.get("lifecycle_stage") == "deleted":
        raise MlflowError(
            f"experiment {wanted.experiment!r} was deleted in MLflow; restore it there"
        )
    return str(found["experiment_id"])


def _found(client: MlflowClient, experiment: str, task: ExportTask) -> Any:
    """Returns the run that an earlier process created, or None."""
    question = {
        "experiment_ids": [experiment],
        "filter": f"tags.`{JOB_TAG}` = '{task.job_id}'",
        "run_view_type": "ACTIVE_ONLY",
        "max_results": 1,
    }
    runs = client.post("runs/search", question).get("runs", [])
    return runs[0] if runs else None


def _made(client: MlflowClient, experiment: str, task: ExportTask) -> Any:
    wanted: MlflowRun = task.settings
    tags = {
        JOB_TAG: task.job_id,
        "flant5.base_model": task.spec.model,
        "flant5.fine_tuned_model": task.fine_tuned_model,
        "flant5.owner": task.owner,
    }
    tags |= {f"flant5.metadata.{key}": text for key, text in task.spec.metadata.items()}
    body = {
        "experiment_id": experiment,
        "run_name": wanted.name or task.job_id,
        "start_time": _now(),
        "tags": _pairs((wanted.tags or {}) | tags, limit=_MAX_TAG),
    }
    return client.post("runs/create", body)["run"]


def _last_steps(found: Any) -> dict[str, int]:
    """Returns the last step of each curve on the server."""
    metrics = found.get("data", {}).get("metrics", [])
    return {metric["key"]: int(metric.get("step", 0)) for metric in metrics}


@dataclass(slots=True)
class _Tracked:
    """One run on the server."""

    client: MlflowClient
    run_id: str
    last: dict[str, int]
    described: frozenset[str] = frozenset()
    """Splits whose summary was sent."""

    def begin(self, task: ExportTask) -> None:
        """Marks the run as running (again) and sets its hyperparameters."""
        self._post("runs/update", status="RUNNING", end_time=0)
        spec = task.spec
        params: dict[str, object] = {"seed": spec.seed, "training_file": spec.training_file}
        params |= {"validation_file": spec.validation_file, "model": spec.model}
        params |= spec.hyperparameters.model_dump(mode="json")
        fields = {name: str(value) for name, value in params.items() if value is not None}
        self._named("params", _pairs(fields, limit=_MAX_PARAM))

    def describe(self, data: dict[str, object]) -> None:
        """Sets new data summaries as tags. Unlike params, tags can be set again."""
        new = {split: report for split, report in data.items() if split not in self.described}
        if not new:
            return
        tags: dict[str, str] = {}
        for split, report in new.items():
            tags |= flatten(report, prefix=f"data.{split}")
        self._named("tags", _pairs(tags, limit=_MAX_TAG))
        self.described |= new.keys()

    def log(self, steps: Sequence[Step]) -> None:
        """Sends the points of these steps that the server does not have."""
        points = [point for step in steps for point in self._new_points(step)]
        for start in range(0, len(points), _MAX_METRICS):
            self._post("runs/log-batch", metrics=points[start : start + _MAX_METRICS])
        for point in points:
            self.last[point["key"]] = point["step"]

    def end(self, status: Status | None) -> None:
        """Ends the run with the job. Leaves it unchanged if the job is paused or queued."""
        if status in _ENDS:
            self._post("runs/update", status=_ENDS[status], end_time=_now())

    def _new_points(self, step: Step) -> Iterator[dict[str, Any]]:
        for name, value in step.points.items():
            if step.number > self.last.get(name, -1):
                at = round(step.at * 1000)
                yield {"key": name, "value": value, "timestamp": at, "step": step.number}

    def _named(self, what: str, pairs: Sequence[dict[str, str]]) -> None:
        for start in range(0, len(pairs), _MAX_NAMED):
            self._post("runs/log-batch", **{what: pairs[start : start + _MAX_NAMED]})

    def _post(self, path: str, **body: object) -> None:
        self.client.post(path, {"run_id": self.run_id, **body})


def _pairs(values: dict[str, str], *, limit: int) -> list[dict[str, str]]:
    return [{"key": key, "value": text[:limit]} for key, text in values.items()]


def _now() -> int:
    return round(time.time() * 1000)
