"""Jobs of three owners are created, trained and deleted while the API, the controller and Redis are
killed at random: `python -m tests.chaos.deletions --jobs 200 --kept 20 --seed 1`.

Afterwards no file, key or index entry of a deleted job is left, and none of another is missing.
Exits with 1 when that is not so; the HOME of such a run is kept beside its report.
"""

import argparse
import random
import shutil
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict

from api.auth import hash_of
from tests.chaos.checker import Violation
from tests.chaos.leftovers import Expected, check_deleted, check_kept
from tests.chaos.specs import write_training_file
from tests.stack.parts import QUICK, Parts
from tests.stack.service import FINAL, REPOSITORY

OWNERS = ("alice", "bob", "carol")
OUTPUT = REPOSITORY / "build" / "chaos"
HYPERPARAMETERS = {
    "max_steps": 2,
    "save_steps": 1,
    "per_device_train_batch_size": 2,
    "model_max_length": 64,
    "num_gpus": 1,
}
KILL_PAUSE_SECONDS = (3.0, 8.0)
FLIGHT_SECONDS = 0.15
"""A part is killed somewhere in this time after a delete was sent."""
MAX_OUTSTANDING = 6
SETTLE_SECONDS = 120.0
_KILLED = ("api", "controller", "redis")
_POLL_SECONDS = 0.3


class DeletionsReport(BaseModel):
    """Actions and observations of one run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    num_jobs: int
    num_deleted: int
    answers: dict[str, int]
    """Answers to deletes, by what was deleted and the code."""
    kills: dict[str, int]
    kills_in_flight: int
    """Kills while a delete was on its way, or under way."""
    seconds: float
    freed_bytes: int
    violations: tuple[Violation, ...]

    def account(self) -> str:
        """For people."""
        lines = [f"{each.rule}: {each.job_id}: {each.account}" for each in self.violations]
        return "\n".join([self.model_dump_json(exclude={"violations"}), *lines, ""])


class Killer:
    """Kills a part now and then, in a thread of its own; a context manager."""

    def __init__(self, parts: Parts, *, seed: int) -> None:
        self._parts = parts
        self._chance = random.Random(f"killer {seed}")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)
        self.kills: Counter[str] = Counter()

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def kill(self) -> None:
        name = self._chance.choice(_KILLED)
        if self._parts[name].is_alive:
            self._parts[name].kill(away_seconds=self._chance.uniform(0, 0.8))
            self.kills[name] += 1

    def _run(self) -> None:
        while not self._is_over.wait(self._chance.uniform(*KILL_PAUSE_SECONDS)):
            self.kill()


class Caller:
    """Sends requests until they are answered, whoever dies meanwhile."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.Client(timeout=10, trust_env=False)

    def send(self, method: str, path: str, *, owner: str, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {owner}", **options.pop("headers", {})}
        deadline = time.monotonic() + 120
        while True:
            try:
                answer = self._client.request(method, self._url + path, headers=headers, **options)
            except httpx.TransportError:
                answer = None
            if answer is not None and not _may_come_again(answer):
                return answer
            assert time.monotonic() < deadline, f"{method} {path}: no answer, the last: {answer}"
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        self._client.close()


def _may_come_again(answer: httpx.Response) -> bool:
    return str(answer.headers.get("x-should-retry")) == "true"


class DeletionRun:
    """Creates, waits, deletes. `num_kept` jobs more than `num_jobs` are made, which stay."""

    def __init__(self, parts: Parts, killer: Killer, *, seed: int) -> None:
        self._parts = parts
        self._killer = killer
        self._caller = Caller(parts.service.url)
        self._chance = random.Random(f"caller {seed}")
        self._files: dict[str, str] = {}
        self._waiting: dict[str, Expected] = {}
        self.deleted: list[Expected] = []
        self.kept: list[Expected] = []
        self.answers: Counter[str] = Counter()
        self.kills_in_flight = 0
        self.freed_bytes = 0

    def upload(self, data: Path) -> None:
        """A training file for each owner."""
        for owner in OWNERS:
            files = {"file": (data.name, data.read_bytes())}
            form = {"purpose": "fine-tune"}
            answer = self._caller.send("POST", "/files", owner=owner, files=files, data=form)
            self._files[owner] = answer.raise_for_status().json()["id"]

    def run(self, *, num_jobs: int, num_kept: int) -> None:
        """Returns when all jobs have ended and those that are to go are deleted."""
        fates = ["delete"] * num_jobs + ["keep"] * num_kept
        self._chance.shuffle(fates)
        while fates or self._waiting:
            while fates and len(self._waiting) < MAX_OUTSTANDING:
                self._create(is_kept=fates.pop() == "keep")
            for job_id, expected in list(self._waiting.items()):
                path = f"/fine_tuning/jobs/{job_id}"
                job = self._caller.send("GET", path, owner=expected.owner).json()
                if job.get("status") in FINAL:
                    del self._waiting[job_id]
                    self._has_ended(expected.at_its_end(job, self._artifacts(expected)))
            time.sleep(_POLL_SECONDS)

    def _create(self, *, is_kept: bool) -> None:
        number = len(self._waiting) + len(self.deleted) + len(self.kept)
        owner = OWNERS[number % len(OWNERS)]
        body = {
            "model": "flant5-demo",
            "training_file": self._files[owner],
            "metadata": {"batch": str(number % 7)},
            "method": {"type": "supervised", "supervised": {"hyperparameters": HYPERPARAMETERS}},
        }
        headers = {"idempotency-key": f"job {number}"}
        answer = self._caller.send(
            "POST", "/fine_tuning/jobs", owner=owner, json=body, headers=headers
        )
        job_id = answer.raise_for_status().json()["id"]
        self._waiting[job_id] = Expected(job_id=job_id, owner=owner, is_kept=is_kept)

    def _has_ended(self, expected: Expected) -> None:
        if expected.is_kept and self._chance.random() < 0.5:
            self.kept.append(expected)
            return
        if checkpoints := self._checkpoints(expected):
            step = self._chance.choice(checkpoints)
            self._delete(expected, f"{expected.path}/checkpoints/{step}", kind="checkpoint")
            expected = expected.without(f"checkpoint-{step}/")
        if expected.model and self._chance.random() < 0.3:
            self._delete(expected, f"/models/{expected.model}", kind="model")
            expected = expected.without_model()
        if expected.is_kept:
            self.kept.append(expected)
            return
        self._delete(expected, expected.path, kind="job")
        self.deleted.append(expected)
        say(f"{len(self.deleted)} deleted, {len(self.kept)} kept, {dict(self._killer.kills)}")

    def _delete(self, expected: Expected, path: str, *, kind: str) -> None:
        """A 404 says so too: the answer of a first try may have been lost."""
        killing: threading.Thread | None = None
        if self._chance.random() < 0.5:
            killing = threading.Timer(self._chance.uniform(0, FLIGHT_SECONDS), self._killer.kill)
            killing.start()
            self.kills_in_flight += 1
        answer = self._caller.send("DELETE", path, owner=expected.owner)
        self.answers[f"{kind} {answer.status_code}"] += 1
        assert answer.status_code in (200, 404), (path, answer.text)
        if killing:
            killing.join()
        if answer.is_success:
            self.freed_bytes += answer.json()["freed_bytes"]
        again = self._caller.send("DELETE", path, owner=expected.owner)
        assert again.status_code in (200, 404), (path, again.text)

    def _checkpoints(self, expected: Expected) -> list[int]:
        answer = self._caller.send("GET", f"{expected.path}/checkpoints", owner=expected.owner)
        return [each["step_number"] for each in answer.raise_for_status().json()["data"]]

    def _artifacts(self, expected: Expected) -> dict[str, int]:
        answer = self._caller.send("GET", f"{expected.path}/artifacts", owner=expected.owner)
        return {each["id"]: each["bytes"] for each in answer.raise_for_status().json()["data"]}

    def judge(self, home: Path) -> list[Violation]:
        """Once all is quiet."""
        with self._parts.open_redis() as redis:
            violations = check_deleted(self.deleted, home=home, redis=redis)
        for expected in self.kept:
            job = self._caller.send("GET", expected.path, owner=expected.owner)
            found = self._artifacts(expected) if job.is_success else {}
            violations += check_kept(expected, job, found)
        for owner in OWNERS:
            page = self._caller.send(
                "GET", "/fine_tuning/jobs", owner=owner, params={"limit": 1000}
            ).json()
            listed = {job["id"] for job in page["data"]}
            expected_ids = {each.job_id for each in self.kept if each.owner == owner}
            if listed != expected_ids:
                account = f"listed {sorted(listed)}; expected {sorted(expected_ids)}"
                violations.append(Violation("the list is right", owner, account))
            path = f"/files/{self._files[owner]}"
            if not self._caller.send("GET", path, owner=owner).is_success:
                violations.append(Violation("files of owners stay", owner, path))
        for expected in self.deleted:
            answer = self._caller.send("GET", expected.path, owner=expected.owner)
            if answer.status_code != httpx.codes.NOT_FOUND:
                violations.append(Violation("deleted is gone", expected.job_id, answer.text))
        return violations

    def close(self) -> None:
        self._caller.close()


def run_deletions(home: Path, *, num_jobs: int, num_kept: int, seed: int) -> DeletionsReport:
    """Runs the service in `home`, which must not be there."""
    home.mkdir(parents=True)
    data, keys_file = home / "conversations.json", home / "keys"
    write_training_file(data)
    keys_file.write_text("".join(f"{owner}:{hash_of(owner)}\n" for owner in OWNERS))
    settings = {
        **QUICK,
        "FLANT5_API_KEYS_FILE": str(keys_file),
        "FLANT5_MAX_INFRA_RETRIES": "1000",
        "FLANT5_RETRY_SECONDS": "0.2",
    }
    started = time.monotonic()
    with Parts(home, settings=settings) as parts:
        killer = Killer(parts, seed=seed)
        run = DeletionRun(parts, killer, seed=seed)
        try:
            run.upload(data)
            with killer:
                run.run(num_jobs=num_jobs, num_kept=num_kept)
            has_settled = _settle(parts)
            violations = run.judge(home)
        finally:
            run.close()
    if not has_settled:
        account = f"after {SETTLE_SECONDS:g} s"
        violations.append(Violation("all deletions are finished in time", "", account))
    return DeletionsReport(
        seed=seed,
        num_jobs=num_jobs + num_kept,
        num_deleted=len(run.deleted),
        answers=dict(run.answers),
        kills=dict(killer.kills),
        kills_in_flight=run.kills_in_flight,
        seconds=round(time.monotonic() - started, 1),
        freed_bytes=run.freed_bytes,
        violations=tuple(violations),
    )


def _settle(parts: Parts) -> bool:
    """Returns True once the controller has finished interrupted deletions."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        try:
            with parts.open_redis() as redis:
                if parts.is_ready() and not redis.exists("flant5:forgotten"):
                    return True
        except Exception:  # noqa: BLE001 - Redis comes back in a moment
            time.sleep(_POLL_SECONDS)
        time.sleep(_POLL_SECONDS)
    return False


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.deletions", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kept", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    home = OUTPUT / f"deletions-home-{options.seed}"
    shutil.rmtree(home, ignore_errors=True)
    report = run_deletions(home, num_jobs=options.jobs, num_kept=options.kept, seed=options.seed)
    path = OUTPUT / f"deletions-{options.seed}.json"
    path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    print(report.account())
    if report.violations:
        print(f"the evidence is in {home}")
        return 1
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
