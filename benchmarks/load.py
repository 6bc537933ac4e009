"""Load test of the API, compared with its cheapest request: `python -m benchmarks load`.

The API, its Valkey and the clients share this machine; no worker runs. Requests are timed over one
connection each, kind by kind in turns, for a service with 100 stored jobs and one with 10,000. The
pages of a log of 1 GB follow. Finally 1,000 clients follow live streams: first undisturbed, then
over a restart of the API.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx

from benchmarks.api_server import USER, ApiServer, api_server
from benchmarks.crowd import Crowd, Script, run_crowd
from benchmarks.latency import Latency, Request, measure_latencies, percentile
from benchmarks.long_log import write_long_log
from benchmarks.memory import memory_of_tree
from benchmarks.row import Row
from benchmarks.table import table
from worker.jobs.job import JobSpec
from worker.jobs.store import keys
from worker.jobs.store.store import JobStore

TITLE = "Load"
NUM_FEW, NUM_MANY = 100, 10_000
LOG_BYTES = 10**9
_PAGE_LINES = 1000
_NUM_LOG_ROUNDS = 50
_NUM_ROUNDS = 400
_JOBS = "/v1/fine_tuning/jobs"
_MODEL = "flant5-demo"
_DATA = "chats.json"
_CONVERSATIONS = """[{"id": "1", "conversations": [{"from": "human", "value": "Hi"},
{"from": "gpt", "value": "Hello!"}]}]"""


def run() -> list[Row]:
    """Measures latencies, their growth with the number of jobs, log pages and live streams."""
    with (
        tempfile.TemporaryDirectory() as few_directory,
        tempfile.TemporaryDirectory() as many_directory,
        api_server(Path(few_directory)) as other,
        api_server(Path(many_directory)) as server,
    ):
        fill(other, NUM_FEW)
        fill(server, NUM_MANY)
        few, many = _latencies(other, server)
        other.stop()
        memory = memory_of_tree(server.pid)
        pages = list(_log_pages(server))
        pages.append(_memory(memory_of_tree(server.pid), memory))
        undisturbed = run_crowd(server, Script())
        restarted = run_crowd(server, Script(restarts=True))
    return [
        *_ratios(many),
        *_growth(few, many),
        *pages,
        *_streams(undisturbed, restarted),
    ]


def fill(server: ApiServer, num_jobs: int) -> None:
    """Stores `num_jobs` jobs. Half belong to the user, and half of those to team a.

    One of 100 is queued; the others are cancelled.
    """
    (server.data_root / _DATA).write_text(_CONVERSATIONS, encoding="utf-8")
    store = JobStore(server.redis)
    for number in range(num_jobs):
        owner = USER if number % 2 else "somebody"
        team = "a" if number % 4 == 1 else "b"
        spec = JobSpec(model=_MODEL, training_file=_DATA, metadata={"team": team})
        job_id = store.create(spec, owner=owner).id
        if number % 100 == 1:
            store.accept(job_id)
        else:
            store.cancel(job_id)


def _latencies(*servers: ApiServer) -> list[dict[str, Latency]]:
    """Returns the latencies of each server. They alternate, so other load affects all equally."""
    requests = {
        (server.url, name): request
        for server in servers
        for name, request in _requests(server).items()
    }
    with httpx.Client(timeout=60, trust_env=False) as client:
        found = measure_latencies(client, requests, num_rounds=_NUM_ROUNDS)
    return [
        {name: each for (url, name), each in found.items() if url == server.url}
        for server in servers
    ]


def _requests(server: ApiServer) -> dict[str, Request]:
    user, admin = (
        {"authorization": f"Bearer {key}"} for key in (server.user_key, server.admin_key)
    )
    (job_id,) = cast(list[str], server.redis.zrevrange(keys.jobs_of(USER), 0, 0))
    jobs = server.url + _JOBS
    spec = {"model": _MODEL, "training_file": _DATA}
    tagged = {"metadata[team]": "a"}
    return {
        "healthz": lambda client: client.get(f"{server.url}/healthz"),
        "get": lambda client: client.get(f"{jobs}/{job_id}", headers=user),
        "submit": lambda client: client.post(jobs, headers=user, json=spec),
        "list": lambda client: client.get(jobs, headers=admin),
        "list of an owner": lambda client: client.get(jobs, headers=user),
        "list of metadata": lambda client: client.get(jobs, headers=admin, params=tagged),
        "list of both": lambda client: client.get(jobs, headers=user, params=tagged),
        "metrics": lambda client: client.get(f"{server.url}/metrics", headers=admin),
    }


def _ratios(many: dict[str, Latency]) -> Iterator[Row]:
    health = many["healthz"]
    for name, goal in (("get", "<= 5"), ("submit", "<= 10"), ("list", "")):
        own = many[name]
        yield Row(
            f"{name}, p99, beside /healthz",
            own.p99 * 1e3,
            health.p99 * 1e3,
            own.p99 / health.p99,
            "ms",
            goal,
        )


def _growth(few: dict[str, Latency], many: dict[str, Latency]) -> Iterator[Row]:
    for name in ("list", "list of an owner", "list of metadata", "list of both", "metrics"):
        own, other = many[name].median, few[name].median
        row = f"{name}, median, {NUM_MANY:,} jobs beside {NUM_FEW}"
        yield Row(row, own * 1e3, other * 1e3, own / other, "ms", "<= 1.5")


def _log_pages(server: ApiServer) -> Iterator[Row]:
    (job_id,) = cast(list[str], server.redis.zrevrange(keys.jobs_of(USER), 0, 0))
    path = server.home / "jobs" / job_id / "train.log"
    log = write_long_log(server.redis, job_id, path, num_bytes=LOG_BYTES)
    user = {"authorization": f"Bearer {server.user_key}"}
    places = {"first": 0, "middle": log.num_lines // 2, "last": log.num_lines - _PAGE_LINES}

    def page(seq: int) -> Request:
        params = {"limit": str(_PAGE_LINES)} | ({"after": log.id_of(seq)} if seq else {})
        url = f"{_JOBS}/{job_id}/logs"
        return lambda client: client.get(url, headers=user, params=params)

    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        requests = {name: page(seq) for name, seq in places.items()}
        found = measure_latencies(client, requests, num_rounds=_NUM_LOG_ROUNDS)
    first = found["first"].median
    for name in ("middle", "last"):
        own = found[name].median
        row = f"{name} page of a log of {LOG_BYTES / 1e9:.0f} GB beside its first"
        yield Row(row, own * 1e3, first * 1e3, own / first, "ms", "<= 1.5")


def _memory(after: int, before: int) -> Row:
    return Row(
        "memory of the API with those pages, beside before",
        after / 1e6,
        before / 1e6,
        after / before,
        "MB",
        "<= 1.25",
    )


def _streams(undisturbed: Crowd, restarted: Crowd) -> Iterator[Row]:
    for name, crowd in (("", undisturbed), (", over a restart", restarted)):
        lost = crowd.num_expected - crowd.num_received
        yield Row(
            f"{crowd.num_clients:,} live streams{name}: events lost (theirs: written)",
            lost,
            crowd.num_expected,
            lost / crowd.num_expected,
            "events",
            "<= 0",
        )
    delay = percentile(undisturbed.delays_ms, 99)
    yield Row("p99 of their delay (theirs: the limit)", delay, 500, delay / 500, "ms", "<= 1")


if __name__ == "__main__":
    print(table(run()))
