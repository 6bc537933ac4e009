"""`python -m examples.cli_tour`: runs the tour's commands against a separate service, and writes
them with their output to docs/cli.md."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from examples.api_calls.service import Service, running_service

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = REPOSITORY / "docs" / "cli.md"
BEGIN = "<!-- made by `make cli-docs`: from here -->"
END = "<!-- made by `make cli-docs`: to here -->"
_TALKS = REPOSITORY / "examples" / "conversations.messages.jsonl"
_JOB_ID = re.compile(r"ftjob-[0-9a-z]{24}")
_KEY = re.compile(r"f5-[\w-]{20,}")
_SMALL = "--set per_device_train_batch_size=4 --set model_max_length=128"


@dataclass(frozen=True, slots=True)
class Stop:
    """A command. `{job}` and `{other}` stand for ids named by `keeps`."""

    command: str
    says: str
    keeps: str = ""


TOUR = (
    Stop(
        "flant5 data check talks.jsonl --model-max-length 128",
        "Check a file and list its problems, row by row.",
    ),
    Stop(
        f"flant5 submit talks.jsonl --dry-run --set max_steps=10 {_SMALL}",
        "Estimate a job without starting it.",
    ),
    Stop(
        f"flant5 submit talks.jsonl --set max_steps=10 {_SMALL} --set validation_split=0.1"
        " --set eval_steps=5",
        "Upload the file and start a job; `--watch` also follows it.",
        keeps="job",
    ),
    Stop("flant5 watch {job}", "In a pipe or a log file, one line per event."),
    Stop(
        f"flant5 submit talks.jsonl --set max_steps=5000 {_SMALL}",
        "A second job.",
        keeps="other",
    ),
    Stop("flant5 pause {other}", "Pause: a running job saves a checkpoint and frees its GPU."),
    Stop("flant5 resume {other}", "Continue from that checkpoint."),
    Stop("flant5 cancel {other}", "Cancel. The checkpoints stay; `--save` saves one more first."),
    Stop(
        "flant5 jobs",
        "List jobs. Options: `--status` (repeatable), `--metadata KEY=VALUE`, `--limit`.",
    ),
    Stop("flant5 job {job}", "Show one job."),
    Stop("flant5 logs {job} --tail 3", "Show the log; `-f` follows it."),
    Stop("flant5 models", "List base and fine-tuned models."),
    Stop("flant5 download {job} model", "Download the model; it is self-contained."),
    Stop(
        "flant5 delete {other} --yes",
        "Delete a finished job with all its files. Also works for models and files.",
    ),
    Stop("flant5 recover", "Restore job records from disk after a loss of Redis."),
    Stop(
        "flant5 keys create bob --days 90 --file keys",
        "Create a key, on the server. It is shown once.",
    ),
    Stop("flant5 keys list --file keys", "List keys."),
    Stop("flant5 job ftjob-none", "Errors are one line, with exit code 1."),
    Stop("flant5 submit talks.jsonl --set learning_rat=1e-4", "A misspelt name gets a suggestion."),
    Stop("flant5 job ftjob-none --json", "With `--json`, errors are JSON documents."),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        shutil.copy(_TALKS, scratch / "talks.jsonl")
        with running_service(scratch / "home") as service:
            blocks = "\n\n".join(_taken(service, scratch))
            blocks = blocks.replace(str(service.home), "/var/lib/flant5")
    before, begin, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT}: expected the marks {BEGIN!r} and {END!r}")
    DOCUMENT.write_text(f"{before}{begin}\n\n{blocks}\n\n{end}{after}", encoding="utf-8")


def _taken(service: Service, scratch: Path) -> Iterator[str]:
    known: dict[str, str] = {}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"FLANT5_URL": service.url, "FLANT5_API_KEY": service.key, "PATH": path}
    for stop in TOUR:
        command = stop.command.format(**known)
        done = subprocess.run(
            ["bash", "-c", command],
            env=os.environ | settings,
            cwd=scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        if stop.keeps:
            found = _JOB_ID.search(done.stdout)
            if found is None:
                raise ValueError(f"{command}\nexpected the id of a job; found {done.stdout}")
            known[stop.keeps] = found[0]
        lines = _KEY.sub("f5-...", done.stdout).rstrip().splitlines()
        printed = "\n".join(line.rstrip() for line in lines)
        yield f"{stop.says}\n\n```console\n$ {command}\n{printed}\n```"


if __name__ == "__main__":
    main()
