"""A real MLflow server, in an environment of its own."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.environments import interpreter_with
from tests.worker.scenes import environment, wait_until

REQUIREMENT = "mlflow==3.17.2"


@dataclass(frozen=True)
class MlflowServer:
    url: str

    def post(self, path: str, body: dict[str, object]) -> Any:
        return httpx.post(f"{self.url}/api/2.0/mlflow/{path}", json=body, timeout=60).json()

    def get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/2.0/mlflow/{path}"
        return httpx.get(url, params=parameters, timeout=60).json()

    def runs(self, experiment: str) -> list[Any]:
        found = self.get("experiments/get-by-name", experiment_name=experiment)
        if found.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
            return []
        ids = [found["experiment"]["experiment_id"]]
        runs: list[Any] = self.post("runs/search", {"experiment_ids": ids}).get("runs", [])
        return runs

    def points(self, run: Any) -> dict[tuple[str, int], list[float]]:
        """All that the server has, by curve and step."""
        points: dict[tuple[str, int], list[float]] = {}
        for curve in run["data"].get("metrics", []):
            run_id, name = run["info"]["run_id"], curve["key"]
            history = self.get("metrics/get-history", run_id=run_id, metric_key=name)
            for point in history["metrics"]:
                points.setdefault((name, int(point["step"])), []).append(point["value"])
        return points


@contextmanager
def mlflow_server(directory: Path) -> Iterator[MlflowServer]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    argv = [str(interpreter_with(REQUIREMENT)), "-m", "mlflow", "server", "--port", str(port)]
    argv += ["--host", "127.0.0.1", "--workers", "1"]
    argv += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    argv += ["--artifacts-destination", str(directory / "artifacts")]
    log = directory / "mlflow.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            # What it imports is its own.
            env=environment(PYTHONPATH="", MLFLOW_DISABLE_TELEMETRY="true"),
            start_new_session=True,
        )
    server = MlflowServer(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            return httpx.get(f"{server.url}/health", timeout=5).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, seconds=180, what="the MLflow server")
        yield server
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """With its workers, which are of its session."""
    import os
    import signal

    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
    except (subprocess.TimeoutExpired, ProcessLookupError):
        process.kill()
        process.wait(timeout=30)
