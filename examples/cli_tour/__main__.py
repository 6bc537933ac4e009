"""`python -m examples.cli_tour`: run the commands of the tour against a service of their own, and
write them with what they print into docs/cli.md."""

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
    """A command. `{job}` and `{other}` are ids that `keeps` names."""

    command: str
    says: str
    keeps: str = ""


TOUR = (
    Stop("flant5 data check talks.jsonl --model-max-length 128", "What a file holds, row by row."),
    Stop(
        f"flant5 submit talks.jsonl --dry-run --set max_steps=10 {_SMALL}",
        "What a job would be; nothing is started.",
    ),
    Stop(
        f"flant5 submit talks.jsonl --set max_steps=10 {_SMALL} --set validation_split=0.1"
        " --set eval_steps=5",
        "Upload it and train on it; `--watch` follows the job at once.",
        keeps="job",
    ),
    Stop("flant5 watch {job}", "In a pipe or a log file: one line per event."),
    Stop(
        f"flant5 submit talks.jsonl --set max_steps=5000 {_SMALL}",
        "A second job.",
        keeps="other",
    ),
    Stop("flant5 pause {other}", "A running job saves a checkpoint and gives its GPU back."),
    Stop("flant5 resume {other}", "It goes on from there."),
    Stop("flant5 cancel {other}", "Its checkpoints stay; `--save` makes it save one more first."),
    Stop("flant5 jobs", "`--status` (several may be given), `--metadata KEY=VALUE`, `--limit`."),
    Stop("flant5 job {job}", "All there is to know of one."),
    Stop("flant5 logs {job} --tail 3", "What the trainer wrote; `-f` follows it."),
    Stop("flant5 models", "What can be trained, and what was."),
    Stop("flant5 download {job} model", "The finished model, which loads by itself."),
    Stop(
        "flant5 delete {other} --yes", "An ended job with all its files; models and files as well."
    ),
    Stop("flant5 recover", "Job records back from the disk, after Redis was lost."),
    Stop("flant5 keys create bob --days 90 --file keys", "On the server; a key is shown once."),
    Stop("flant5 keys list --file keys", "Whose keys there are."),
    Stop("flant5 job ftjob-none", "A mistake is one line, and exit code 1."),
    Stop("flant5 submit talks.jsonl --set learning_rat=1e-4", "A name that is nearly right."),
    Stop("flant5 job ftjob-none --json", "For programs, a mistake is a document too."),
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
                raise ValueError(f"{command}\nexpected the id of a job; it printed {done.stdout}")
            known[stop.keeps] = found[0]
        lines = _KEY.sub("f5-...", done.stdout).rstrip().splitlines()
        printed = "\n".join(line.rstrip() for line in lines)
        yield f"{stop.says}\n\n```console\n$ {command}\n{printed}\n```"


if __name__ == "__main__":
    main()
