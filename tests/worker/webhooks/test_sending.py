"""The real sender, in a process of its own, against real endpoints and the SDK that checks them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.webhooks import FineTuningJobSucceededWebhookEvent
from pydantic import SecretStr
from redis import Redis

from tests.worker.scenes import queued_job, wait_until
from tests.worker.webhooks.receiver import SECRET, Got, Receiver, receiving
from tests.worker.webhooks.test_deliveries import fails, succeeds
from worker.jobs.job import JobError
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.outbox import count_webhooks
from worker.jobs.store.store import JobStore

FAILED = JobError(code="bad_data", message="no")
PATIENCE_SECONDS = 60.0


class Sending:
    """Endpoints and the file that names them, and senders of it."""

    def __init__(self, directory: Path, redis: Redis, redis_url: SecretStr) -> None:
        self.file = directory / "webhooks.toml"
        self.log = directory / "sender.log"
        self._redis = redis
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "FLANT5_HOME": str(directory / "home"),
            "FLANT5_REDIS_URL": redis_url.get_secret_value(),
            "FLANT5_WEBHOOKS_FILE": str(self.file),
            "FLANT5_WEBHOOK_TIMEOUT_SECONDS": "20",
            "FLANT5_WEBHOOK_RETRY_SECONDS": "0.05",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def tell(self, **receivers: Receiver) -> None:
        self.file.write_text(
            "\n".join(
                f'[{name}]\nurl = "{receiver.url}?token=sesame"\nsecret = "{SECRET}"\n'
                for name, receiver in receivers.items()
            )
        )

    def start(self, **changes: str) -> subprocess.Popen[bytes]:
        """Returns when the sender has said to Redis who wants what."""
        environment = self._environment | changes
        before = self.log.stat().st_size if self.log.exists() else 0
        self._redis.delete(keys.WEBHOOKS)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.webhooks"], env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        wait_until(
            lambda: self._redis.exists(keys.WEBHOOKS) or process.poll() is not None,
            seconds=PATIENCE_SECONDS,
        )
        assert process.poll() is None, self.log.read_text()[before:]
        return process

    def run_to_end(self, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "worker.webhooks"],
            env=self._environment | changes,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def sending(tmp_path: Path, redis: Redis, redis_url: SecretStr) -> Iterator[Sending]:
    sending = Sending(tmp_path, redis, redis_url)
    yield sending
    sending.close()


@pytest.fixture
def receiver_of() -> Iterator[Callable[[Receiver], Receiver]]:
    with ExitStack() as stack:
        yield lambda receiver: stack.enter_context(receiving(receiver))


def unwrapped(got: Got) -> Any:
    with openai.OpenAI(api_key="none", webhook_secret=SECRET) as client:
        return client.webhooks.unwrap(got.body, got.headers)


def wait_for(receiver: Receiver, number: int) -> None:
    wait_until(lambda: len(receiver.got) >= number, seconds=PATIENCE_SECONDS, what=f"{number} told")


def test_the_sdk_accepts_what_is_sent_for_each_kind_of_end(
    sending: Sending, receiver_of: Callable[[Receiver], Receiver], store: JobStore, redis: Redis
) -> None:
    receiver = receiver_of(Receiver())
    sending.tell(ci=receiver)
    sender = sending.start()
    ids = {
        "fine_tuning.job.succeeded": succeeds(store),
        "fine_tuning.job.failed": fails(store),
        "fine_tuning.job.cancelled": store.cancel(queued_job(store).id).id,
    }
    wait_for(receiver, 3)
    events = [unwrapped(got) for got in receiver.got]
    assert {event.type: event.data.id for event in events} == ids
    (succeeded,) = [each for each in events if isinstance(each, FineTuningJobSucceededWebhookEvent)]
    assert succeeded.object == "event"
    assert succeeded.id.startswith("evt_")
    assert succeeded.created_at == int(store.get(succeeded.data.id).finished_at or 0)
    (got,) = [each for each in receiver.got if succeeded.id in each.body]
    assert got.headers["webhook-id"] == succeeded.id
    with (
        openai.OpenAI(api_key="none", webhook_secret=SECRET) as client,
        pytest.raises(openai.InvalidWebhookSignatureError),
    ):
        client.webhooks.verify_signature(got.body.replace("succeeded", "failed"), got.headers)
    wait_until(lambda: count_webhooks(redis).num_tries["delivered"] == 3)
    sender.send_signal(signal.SIGTERM)
    assert sender.wait(timeout=PATIENCE_SECONDS) == 0
    said = sending.log.read_text()
    assert (
        f"webhook ci: delivered (job={ids['fine_tuning.job.succeeded']}, status=succeeded)" in said
    )
    assert "sesame" not in said
    assert SECRET.removeprefix("whsec_") not in said


def test_a_network_variable_that_can_not_be_used_ends_the_sender_with_its_name(
    sending: Sending, receiver_of: Callable[[Receiver], Receiver]
) -> None:
    sending.tell(ci=receiver_of(Receiver()))
    done = sending.run_to_end(NO_PROXY="localhost,::1/128")
    assert done.returncode == 2
    assert done.stderr.startswith("webhooks can't be sent: NO_PROXY is 'localhost,::1/128'")
    assert done.stderr.count("\n") == 1


def test_a_failed_delivery_is_made_again_with_the_same_id(
    sending: Sending, receiver_of: Callable[[Receiver], Receiver], store: JobStore, redis: Redis
) -> None:
    receiver = receiver_of(Receiver(answer=lambda number: 500 if number < 3 else 204))
    sending.tell(ci=receiver)
    sending.start()
    fails(store)
    wait_until(lambda: count_webhooks(redis).num_tries["delivered"] == 1, seconds=PATIENCE_SECONDS)
    assert len(receiver.got) == 3
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1
    assert all(unwrapped(got) for got in receiver.got)
    assert count_webhooks(redis).num_tries["failed"] == 2
    wait_until(lambda: "HTTP 500; try 2 in" in sending.log.read_text())


def test_a_sender_killed_in_the_middle_leaves_the_delivery_to_the_next_one(
    sending: Sending, receiver_of: Callable[[Receiver], Receiver], store: JobStore, redis: Redis
) -> None:
    receiver = receiver_of(Receiver(hold=threading.Event()))
    sending.tell(ci=receiver)
    sender = sending.start(FLANT5_WEBHOOK_TIMEOUT_SECONDS="3")
    first = fails(store)
    wait_for(receiver, 1)
    sender.kill()
    sender.wait()
    while_nobody_sends = fails(store)
    assert receiver.hold is not None
    receiver.hold.set()
    sending.start()
    wait_until(lambda: count_webhooks(redis).num_tries["delivered"] == 2, seconds=PATIENCE_SECONDS)
    assert receiver.job_ids[0] == first
    assert sorted(receiver.job_ids[1:]) == sorted([first, while_nobody_sends])
    ids = [got.headers["webhook-id"] for got in receiver.got if first in got.body]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_a_slow_endpoint_delays_no_other(
    sending: Sending, receiver_of: Callable[[Receiver], Receiver], store: JobStore, redis: Redis
) -> None:
    slow, quick = receiver_of(Receiver(hold=threading.Event())), receiver_of(Receiver())
    sending.tell(a_slow=slow, quick=quick)
    sending.start()
    num_jobs = 20
    for _ in range(num_jobs):
        store.reject(store.create(queued_job(store).spec).id, FAILED)
    wait_for(quick, num_jobs)
    # None of the slow one's requests has been answered; it has as many as it may.
    wait_until(
        lambda: count_webhooks(redis).num_waiting == {"a_slow": num_jobs, "quick": 0},
        what="the quick one's answers to be counted",
    )
    assert len(slow.got) <= 8


def test_a_redirect_is_not_followed(
    sending: Sending, receiver_of: Callable[[Receiver], Receiver], store: JobStore, redis: Redis
) -> None:
    inner = receiver_of(Receiver())
    outer = receiver_of(Receiver(answer=lambda _: 307, location=inner.url))
    sending.tell(ci=outer)
    sending.start()
    fails(store)
    wait_for(outer, 2)
    assert inner.got == []
    wait_until(lambda: "HTTP 307: redirects are not followed" in sending.log.read_text())


@pytest.mark.parametrize(
    ("status", "hours", "reason"),
    [(500, "0.000001", "HTTP 500"), (410, "72", "HTTP 410")],
    ids=["after the time for it", "at once where the endpoint says that it is gone"],
)
def test_a_delivery_is_given_up(
    sending: Sending,
    receiver_of: Callable[[Receiver], Receiver],
    store: JobStore,
    history: JobHistory,
    status: int,
    hours: str,
    reason: str,
) -> None:
    receiver = receiver_of(Receiver(answer=lambda _: status))
    sending.tell(ci=receiver)
    # An end may be this old when it comes to be known, so the time begins to count at once.
    sending.start(FLANT5_WEBHOOK_GIVE_UP_HOURS=hours)
    job_id = fails(store)
    expected = f'Webhook "ci" not delivered: gave up after 1 try; last error: {reason}'

    def last_message() -> str:
        return history.events(job_id, limit=1).items[0].message

    wait_until(lambda: last_message() == expected, seconds=PATIENCE_SECONDS)
    assert len(receiver.got) == 1
    wait_until(
        lambda: (
            f"webhook ci: not delivered (job={job_id}, status=failed): gave up"
            in sending.log.read_text()
        )
    )


def test_nobody_at_the_address_is_a_failure_like_any_other(
    sending: Sending, receiver_of: Callable[[Receiver], Receiver], store: JobStore, redis: Redis
) -> None:
    sending.tell(nobody=Receiver(port=9), ci=(receiver := receiver_of(Receiver())))
    sending.start()
    fails(store)
    wait_for(receiver, 1)
    wait_until(
        lambda: "webhook nobody: delivery failed" in sending.log.read_text(),
        seconds=PATIENCE_SECONDS,
    )
    assert count_webhooks(redis).num_tries["failed"] >= 1
    assert "sesame" not in sending.log.read_text()


def test_endpoints_come_and_go_with_the_file_while_the_sender_runs(
    sending: Sending, receiver_of: Callable[[Receiver], Receiver], store: JobStore, redis: Redis
) -> None:
    old, new = receiver_of(Receiver()), receiver_of(Receiver())
    sending.tell(old=old)
    sending.start()
    sending.file.write_text("[broken")
    wait_until(
        lambda: "keeping the previous endpoints" in sending.log.read_text(),
        seconds=PATIENCE_SECONDS,
    )
    fails(store)
    wait_for(old, 1)
    sending.tell(new=new)
    wait_until(lambda: redis.hexists(keys.WEBHOOKS, "new"), seconds=PATIENCE_SECONDS)
    fails(store)
    wait_for(new, 1)
    assert len(old.got) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, "can't be read"), ("[ci]\nurl = 1", "line 1: endpoint 'ci': field 'url'")],
)
def test_a_sender_without_a_good_file_does_not_start(
    sending: Sending, text: str | None, expected: str
) -> None:
    if text is not None:
        sending.file.write_text(text)
    with pytest.raises(AssertionError, match=f"webhooks can't be sent: .*{expected}"):
        sending.start()
    assert sending.processes[-1].wait(timeout=PATIENCE_SECONDS) == 2
