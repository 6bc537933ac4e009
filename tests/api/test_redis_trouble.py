"""Redis down, frozen, loading, full or emptied, as callers of a real API server see it.

Each request has seconds for its answer, of which a busy machine takes some; the client gives up
after that, while Redis stays frozen.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis, exceptions

from api.app import create_app
from api.cli.stack.redis import EmbeddedRedis
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS, claim_new_job, wait_until
from worker.jobs.job import Status
from worker.jobs.store.redis import open_redis
from worker.jobs.store.serialization import HeartbeatDirective
from worker.jobs.store.store import JobStore

PATIENCE_SECONDS = 15.0
CREATE = {"model": "flant5-demo", "training_file": "chats.json"}

Request = tuple[str, str]

WISHES: tuple[Request, ...] = (
    ("POST", "/{job}/cancel"),
    ("POST", "/{job}/cancel?save_checkpoint=true"),
    ("POST", "/{job}/pause"),
    ("POST", "/{job}/resume"),
)
READS: tuple[Request, ...] = (
    ("GET", ""),
    ("GET", "/{job}"),
    ("GET", "/{job}/events"),
    ("LIVE", "/{job}/events"),
    ("GET", "/{job}/logs"),
    ("LIVE", "/{job}/logs"),
    ("GET", "/{job}/checkpoints"),
    ("GET", "/{job}/metrics"),
    ("GET", "/{job}/artifacts"),
    ("GET", "/{job}/artifacts/config.json"),
)
ALL: tuple[Request, ...] = (("POST", ""), *READS, *WISHES)


class SlowServer(EmbeddedRedis):
    """Takes seconds to read its data, and counts as started when it answers that it does."""

    def _configuration(self) -> str:
        return super()._configuration() + "key-load-delay 10\n"

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        with Redis.from_url(self.url.get_secret_value(), socket_timeout=2) as redis:
            wait_until(lambda: _answers(redis), what="the server's first answer")


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.info())
    except exceptions.ConnectionError:
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "own-redis") as server:
        yield server


class Scene:
    """An API server with a running job, and its callers."""

    def __init__(self, store: JobStore, *, url: str) -> None:
        self.store = store
        self._http = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)
        self.claim = claim_new_job(store)
        self.job_id = self.claim.job.id

    def close(self) -> None:
        self._http.close()

    def ask(self, method: str, path: str, idempotency_key: str | None = None) -> httpx.Response:
        url = "/fine_tuning/jobs" + path.format(job=self.job_id)
        if method == "LIVE":
            return self._http.get(url, headers={"accept": "text/event-stream"})
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        body = CREATE if (method, path) == ("POST", "") else None
        return self._http.request(method, url, json=body, headers=headers)

    def ask_all(self, requests: Sequence[Request]) -> list[httpx.Response]:
        """At the same time: a server in trouble has more than one caller."""
        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(lambda request: self.ask(*request), requests))

    def create(self) -> str:
        response = self.ask("POST", "")
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    def probe(self, name: str) -> int:
        return self._http.get(self._http.base_url.join(f"/{name}")).status_code

    def files_still_work(self) -> None:
        files = {"file": ("chats.json", CONVERSATIONS)}
        uploaded = self._http.post("/files", files=files, data={"purpose": "fine-tune"})
        assert uploaded.status_code == 200
        assert self._http.get("/files").json()["data"][0] == uploaded.json()
        content = self._http.get(f"/files/{uploaded.json()['id']}/content")
        assert content.content == CONVERSATIONS


@pytest.fixture
def scene(
    settings: ApiSettings, server: EmbeddedRedis, serve: Callable[[FastAPI], str]
) -> Iterator[Scene]:
    url = serve(create_app(settings.model_copy(update={"redis_url": server.url})))
    with open_redis(server.url) as redis, closing(Scene(JobStore(redis), url=url)) as scene:
        assert scene.probe("readyz") == 200
        yield scene


def assert_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.json()["error"]["code"] == "store_unavailable"
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["x-should-retry"] == "true"


def assert_all_unavailable(scene: Scene, requests: Sequence[Request] = ALL) -> None:
    for response in scene.ask_all(requests):
        assert_unavailable(response)
    assert scene.probe("readyz") == 503
    assert scene.probe("healthz") == 200
    scene.files_still_work()


@contextmanager
def frozen(server: EmbeddedRedis) -> Iterator[None]:
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_without_redis_every_route_says_so_and_nothing_acknowledged_is_lost(
    scene: Scene, server: EmbeddedRedis
) -> None:
    waiting, paused, cancelled = (scene.create() for _ in range(3))
    scene.ask("POST", f"/{paused}/pause")
    scene.ask("POST", f"/{cancelled}/cancel")
    scene.ask("POST", "/{job}/cancel?save_checkpoint=true")
    server.kill()
    assert_all_unavailable(scene)
    server.start()
    assert scene.probe("readyz") == 200
    assert scene.ask("GET", f"/{waiting}").json()["status"] == "validating_files"
    assert scene.ask("GET", f"/{paused}").json()["status"] == "paused"
    assert scene.ask("GET", f"/{cancelled}").json()["status"] == "cancelled"
    assert scene.store.leases.heartbeat(scene.claim, 60) is HeartbeatDirective.CANCEL_SAVE
    listed = scene.ask("GET", "").json()["data"]
    assert [job["id"] for job in listed] == [cancelled, paused, waiting, scene.job_id]


def test_a_frozen_redis_holds_no_caller_for_long(scene: Scene, server: EmbeddedRedis) -> None:
    # Connections that were used before, and so many callers that new ones are needed too.
    assert all(answer.status_code == 200 for answer in scene.ask_all(READS[:3]))
    with frozen(server):
        assert_all_unavailable(scene)
        # Nearly as many as the server has threads.
        for response in scene.ask_all([("GET", "/{job}")] * 90):
            assert_unavailable(response)
    # What was on its way when the server froze may have been carried out, and may not.
    assert scene.ask("GET", "/{job}").json()["status"] == "running"
    assert scene.create() in [job["id"] for job in scene.ask("GET", "").json()["data"]]


def test_a_create_into_a_frozen_redis_that_is_tried_again_makes_one_job(
    scene: Scene, server: EmbeddedRedis
) -> None:
    with frozen(server):
        assert_unavailable(scene.ask("POST", "", "one"))
    job_id = scene.ask("POST", "", "one").json()["id"]
    listed = scene.ask("GET", "").json()["data"]
    assert [job["id"] for job in listed] == [job_id, scene.job_id]


def test_a_redis_that_still_reads_its_data_is_not_ready(
    settings: ApiSettings, tmp_path: Path, serve: Callable[[FastAPI], str]
) -> None:
    server = SlowServer(tmp_path / "large-redis")
    with ExitStack() as stack:
        stack.enter_context(server)
        redis = stack.enter_context(open_redis(server.url))
        url = serve(create_app(settings.model_copy(update={"redis_url": server.url})))
        scene = stack.enter_context(closing(Scene(JobStore(redis), url=url)))
        with redis.pipeline(transaction=False) as pipeline:
            for number in range(80_000):
                pipeline.set(f"ballast:{number}", number)
            pipeline.execute()
        server.kill()
        server.start()
        assert_all_unavailable(scene)
        assert "loading" in scene.ask("GET", "/{job}").json()["error"]["message"]
        wait_until(lambda: scene.probe("readyz") == 200, what="the data to be read")
        assert scene.ask("GET", "/{job}").json()["status"] == "running"
        scene.create()


def test_a_full_redis_takes_no_jobs_and_lets_those_it_has_be_stopped(
    scene: Scene, server: EmbeddedRedis
) -> None:
    waiting = scene.create()
    with open_redis(server.url) as redis:
        redis.config_set("maxmemory", 1)
        assert_unavailable(scene.ask("POST", ""))
        assert scene.probe("readyz") == 503
        scene.files_still_work()
        for response in scene.ask_all([each for each in READS if each[0] == "GET"]):
            # There are no artifacts yet.
            assert response.status_code in (200, 404), response.text
        assert scene.ask("POST", f"/{waiting}/pause").json()["status"] == "paused"
        assert_unavailable(scene.ask("POST", f"/{waiting}/resume"))
        assert scene.ask("POST", f"/{waiting}/cancel").json()["status"] == "cancelled"
        assert scene.ask("POST", "/{job}/cancel").json()["phase"] == "stopping"
        assert scene.store.leases.heartbeat(scene.claim, 60) is HeartbeatDirective.CANCEL
        redis.config_set("maxmemory", 0)
    assert scene.probe("readyz") == 200
    assert scene.ask("POST", f"/{waiting}/resume").json()["status"] == "validating_files"
    scene.create()


def test_an_emptied_redis_takes_new_jobs_and_does_not_deny_the_old(
    scene: Scene, server: EmbeddedRedis
) -> None:
    old = scene.create()
    with open_redis(server.url) as redis:
        redis.flushall()
    response = scene.ask("GET", f"/{old}")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "job_not_restored")
    new = scene.create()
    assert scene.store.get(new).status is Status.VALIDATING_FILES
