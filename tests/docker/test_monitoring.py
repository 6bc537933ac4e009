"""The profile `monitoring`: a real Prometheus beside the service. Grafana can't be had where no
image registry is reached; each query of its dashboard is asked here."""

import json
import urllib.parse
from typing import Any

import pytest
import yaml

from tests.docker.project import Project
from tests.stack.service import wait_until

pytestmark = pytest.mark.docker

ASK = """
import sys, urllib.request
with urllib.request.urlopen("http://prometheus:9090" + sys.argv[1]) as answer:
    print(answer.read().decode())
"""


@pytest.fixture(scope="module")
def monitored(stack: Project) -> Project:
    stack.compose("--profile", "monitoring", "up", "--detach", "--wait", "--no-build", "prometheus")
    return stack


def ask(stack: Project, path: str) -> Any:
    """What Prometheus answers to a container beside it."""
    done = stack.inside("api", "python", "-c", ASK, path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == "success", answer
    return answer["data"]


def value_of(stack: Project, query: str) -> list[Any]:
    found = ask(stack, f"/api/v1/query?query={urllib.parse.quote(query)}")
    return list(found["result"])


def test_prometheus_reads_the_metrics_with_its_key(monitored: Project) -> None:
    wait_until(lambda: value_of(monitored, 'up{job="flant5"} == 1'), seconds=60)
    (workers,) = value_of(monitored, "sum(flant5_workers)")
    assert workers["value"][1] == "1"


def test_each_query_of_the_dashboard_is_understood(monitored: Project) -> None:
    path = monitored.directory / "docker/monitoring/grafana/dashboards/flant5.json"
    panels = json.loads(path.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(queries) > 10
    for query in queries:
        value_of(monitored, query)


def test_all_alerts_are_loaded_and_none_is_raised(monitored: Project) -> None:
    text = (monitored.directory / "docker/monitoring/alerts.yml").read_text()
    wanted = {rule["alert"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]}
    (group,) = ask(monitored, "/api/v1/rules")["groups"]
    rules = {rule["name"]: rule["state"] for rule in group["rules"]}
    assert rules == dict.fromkeys(wanted, "inactive")
