"""Schemathesis over our own description of the API, against a running server."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.security.server import Server
from tests.stack.service import REPOSITORY

SECONDS = 300.0
_SKIPPED = "positive_data_acceptance,not_a_server_error"
"""That a file, a job or a model of some id is there no schema can say: 400 and 404 are right. And a
server may be busy (`tests.security.answer_checks`, which looks for all other 5xx)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended."""

    has_passed: bool
    report: dict[str, Any]
    text: str


def run_schemathesis(server: Server, *, num_examples: int, seed: int = 1) -> Verdict:
    """All phases: examples, coverage of every constraint, random, and sequences of calls."""
    report = server.directory / "schemathesis.json"
    argv = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"http://127.0.0.1:{server.port}/openapi.json"),
        *("--header", f"Authorization: {server.authorization}"),
        *("--exclude-checks", _SKIPPED),
        *("--seed", str(seed)),
        *("--max-examples", str(num_examples)),
        *("--request-timeout", "60"),
        *("--generation-database", "none"),
        *("--report", "json", "--report-json-path", str(report)),
        "--continue-on-failure",
        "--no-color",
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.security.answer_checks",
        "PYTHONPATH": str(REPOSITORY),
    }
    # It keeps a cache where it runs.
    finished = subprocess.run(
        argv, env=environment, cwd=server.directory, text=True, capture_output=True, timeout=SECONDS
    )
    text = finished.stdout + finished.stderr
    assert report.exists(), text
    return Verdict(finished.returncode == 0, json.loads(report.read_text()), text)
