"""`python -m examples.api_calls`: calls the REST API of a separate service, and writes commands and
responses to docs/api.md. With `--check` it writes nothing, and exits with 1 if the fields of the
responses differ from the document."""

import argparse
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from examples.api_calls.call import Answer, Call
from examples.api_calls.fields import differences
from examples.api_calls.page import Page, document_of
from examples.api_calls.service import Service, running_service
from examples.api_calls.tour import TOUR, Leg

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = REPOSITORY / "docs" / "api.md"
_TALKS = REPOSITORY / "examples" / "conversations.messages.jsonl"
_JOB_SECONDS = 300.0
_SHOWN_HOME = "/var/lib/flant5"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.api_calls", description=__doc__)
    parser.add_argument("--check", action="store_true")
    is_check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        _prepare(scratch)
        with running_service(scratch / "home") as service:
            root = service.url.removesuffix("/v1")
            page = Page({str(service.home): _SHOWN_HOME, socket.gethostname(): "gpu-host"})
            sections = [
                (leg.title, page.section(made)) for leg, made in _taken(service, root, scratch)
            ]
    text = document_of(DOCUMENT, sections)
    if not is_check:
        DOCUMENT.write_text(text, encoding="utf-8")
        return 0
    found = differences(shown=DOCUMENT.read_text(encoding="utf-8"), made=text)
    print("\n".join(found) or f"{DOCUMENT.name} matches the responses")
    return 1 if found else 0


def _prepare(scratch: Path) -> None:
    """Creates the files that the commands use."""
    shutil.copy(_TALKS, scratch / "talks.jsonl")
    content = _TALKS.read_bytes()
    (scratch / "part.aa").write_bytes(content[:500])
    (scratch / "part.ab").write_bytes(content[500:800])


def _taken(
    service: Service, root: str, scratch: Path
) -> Iterator[tuple[Leg, list[tuple[Call, Answer]]]]:
    known: dict[str, str] = {}
    environment = {
        "FLANT5_URL": root,
        "AUTH": f"Authorization: Bearer {service.key}",
        "SCRATCH": str(scratch),
    }
    for leg in TOUR:
        yield leg, [(call, call.made(known, environment=environment)) for call in leg.calls]
        if leg.ends:
            _wait(service, known[leg.ends])


def _wait(service: Service, job_id: str) -> None:
    deadline = time.monotonic() + _JOB_SECONDS
    with httpx.Client(headers={"authorization": f"Bearer {service.key}"}) as client:
        while time.monotonic() < deadline:
            job = client.get(f"{service.url}/fine_tuning/jobs/{job_id}").json()
            if job["status"] == "succeeded":
                return
            if job["finished_at"] is not None:
                raise RuntimeError(f"the job ended as {job['status']}: {job['error']}")
            time.sleep(1)
    raise RuntimeError(f"job {job_id} has not ended after {_JOB_SECONDS:g} s")


if __name__ == "__main__":
    sys.exit(main())
