"""The caller of the service: submits jobs, repeats what got no answer, notes what it is told."""

import math
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx

from tests.chaos.specs import SPECS, create_request
from tests.chaos.testimony import now
from tests.stack.service import FINAL

MAX_OUTSTANDING = 3
_COME_AGAIN = (429, 503)
_TIMEOUT_SECONDS = 5.0
_RETRY_SECONDS = 0.3
_REPEATS = 0.3
"""Share of the creates that are sent once more although they were answered."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that the caller wants once, however often it has to ask for it."""

    key: str
    spec: str
    has_key: bool
    """It is sent with an Idempotency-Key; else it is repeated as the `openai` SDK does it."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The answer to a create: this job is the service's now. One submission may be answered
    several times."""

    submission: str
    spec: str
    job_id: str
    at: float = 0.0
    """Unix seconds."""
    has_key: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A final state that the service told."""

    status: str
    at: float


class RefusedError(Exception):
    """An answer that no fault excuses."""


class Caller:
    """May be used from several threads. `seed` chooses what it submits and repeats."""

    def __init__(self, url: str, *, training_file: str, seed: int) -> None:
        self._url = f"{url}/fine_tuning/jobs"
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False)
        self._training_file = training_file
        self._chance = random.Random(f"caller {seed}")
        self._lock = threading.Lock()
        self._submissions: list[Submission] = []
        self.acknowledged: list[Acknowledged] = []
        self.ends: dict[str, Seen] = {}
        self.cancels_sent: set[str] = set()
        self._resume_at: dict[str, float] = {}
        self.refusals: list[str] = []
        self._is_over = threading.Event()
        self._is_accepting = threading.Event()
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)

    def start(self) -> None:
        """From now on there are always jobs to run."""
        self._is_accepting.set()
        self._thread.start()

    @property
    def is_submitting(self) -> bool:
        return self._is_accepting.is_set()

    def submit_no_more(self) -> None:
        self._is_accepting.clear()

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._client.close()

    def outstanding(self) -> list[str]:
        """Ids of acknowledged jobs that were not seen in a final state yet."""
        with self._lock:
            ids = dict.fromkeys(one.job_id for one in self.acknowledged)
            return [job_id for job_id in ids if job_id not in self.ends]

    def resumable(self) -> list[str]:
        """Jobs that the caller paused; not those it cancelled, which a resume would bring back."""
        waiting = set(self.outstanding()) - self.cancels_sent
        return [job_id for job_id in list(self._resume_at) if job_id in waiting]

    def submit(self) -> None:
        """A new job. Returns when it is acknowledged; until then it is sent again and again."""
        with self._lock:
            submission = Submission(
                key=f"submission-{len(self._submissions) + 1}",
                spec=self._chance.choice(list(SPECS)),
                has_key=self._chance.random() < 0.5,
            )
            self._submissions.append(submission)
            is_repeated = self._chance.random() < _REPEATS
        self._send(submission)
        if is_repeated:
            self._send(submission, is_retry=True)

    def submit_or_repeat(self) -> None:
        """A new job, or when there are enough the one before once more, as if nobody had
        answered. Returns when it is acknowledged."""
        if len(self.outstanding()) < MAX_OUTSTANDING:
            self.submit()
            return
        with self._lock:
            last = self.acknowledged[-1].submission
            (submission,) = (one for one in self._submissions if one.key == last)
        self._send(submission, is_retry=True)

    def _send(self, submission: Submission, *, is_retry: bool = False) -> None:
        num_retries = int(is_retry)
        body = create_request(
            submission.spec, training_file=self._training_file, key=submission.key
        )
        while not self._is_over.is_set():
            headers = {"x-stainless-retry-count": str(num_retries)}
            if submission.has_key:
                headers["Idempotency-Key"] = submission.key
            job = self._ask("POST", self._url, json=body, headers=headers)
            if job is not None:
                with self._lock:
                    self.acknowledged.append(
                        Acknowledged(
                            submission.key,
                            submission.spec,
                            job["id"],
                            at=time.time(),
                            has_key=submission.has_key,
                        )
                    )
                return
            num_retries += 1
            self._is_over.wait(_RETRY_SECONDS)

    def cancel(self, job_id: str) -> bool:
        """Whether the service took it."""
        self.cancels_sent.add(job_id)
        return self._ask("POST", f"{self._url}/{job_id}/cancel") is not None

    def cancel_with_checkpoint(self, job_id: str) -> bool:
        self.cancels_sent.add(job_id)
        url = f"{self._url}/{job_id}/cancel?save_checkpoint=true"
        return self._ask("POST", url) is not None

    def pause(self, job_id: str, *, seconds: float) -> bool:
        """It is resumed after `seconds`, unless it was before."""
        is_taken = self._ask("POST", f"{self._url}/{job_id}/pause") is not None
        if is_taken:
            self._resume_at[job_id] = now() + seconds
        return is_taken

    def resume(self, job_id: str) -> bool:
        is_taken = self._ask("POST", f"{self._url}/{job_id}/resume") is not None
        if is_taken:
            self._resume_at.pop(job_id, None)
        return is_taken

    def job(self, job_id: str) -> dict[str, Any] | None:
        """None when there was no answer."""
        return self._ask("GET", f"{self._url}/{job_id}")

    def _ask(self, method: str, url: str, **request: Any) -> dict[str, Any] | None:
        """None when there was no answer, or one that says: come again."""
        try:
            answer = self._client.request(method, url, **request)
        except httpx.TransportError:
            return None
        if answer.is_success:
            content: dict[str, Any] = answer.json()
            return content
        # A wish may come too late for the job's state.
        is_late = answer.status_code in (400, 409) and method == "POST" and "json" not in request
        if answer.status_code not in _COME_AGAIN and not is_late:
            refusal = f"{method} {url}: {answer.status_code} {answer.text}"
            self.refusals.append(refusal)
            raise RefusedError(refusal)
        return None

    def _run(self) -> None:
        """A refusal ends it: it is noted, and a violation."""
        while not self._is_over.wait(_RETRY_SECONDS):
            for job_id in self.outstanding():
                job = self.job(job_id)
                if job is not None and job["status"] in FINAL:
                    self.ends[job_id] = Seen(job["status"], now())
            for job_id in self.resumable():
                if now() > self._resume_at.get(job_id, math.inf):
                    self.resume(job_id)
            if self._is_accepting.is_set() and len(self.outstanding()) < MAX_OUTSTANDING:
                self.submit()
