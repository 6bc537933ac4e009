"""End-to-end demo: `make demo`.

Starts the whole service, submits `conversations.json` over REST, follows the loss, stops the
service and asks the fine-tuned model a question from its training data. Exits with 0 only if every
step succeeded.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DATA = REPOSITORY / "examples" / "conversations.json"
HOME = Path(os.environ.get("DEMO_HOME", REPOSITORY / "demo-home"))
FLANT5 = Path(sys.executable).with_name("flant5")
SETTINGS = {
    "max_steps": 60,
    "learning_rate": 0.003,
    "lr_scheduler_type": "cosine",
    "per_device_train_batch_size": 8,
    "model_max_length": 256,
    "validation_split": 0.05,
    "eval_steps": 30,
}


@contextmanager
def service() -> Iterator[str]:
    """Yields the URL of a running service, and stops it at the end."""
    process = subprocess.Popen([FLANT5, "up", "--home", HOME, "--port", "0"])
    try:
        yield wait_for_url(process)
    finally:
        process.send_signal(signal.SIGINT)
        exit_code = process.wait(timeout=120)
    if exit_code != 0:
        sys.exit(f"the service stopped with exit code {exit_code}")


def wait_for_url(process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            ready = json.loads((HOME / "up.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            time.sleep(0.1)
            continue
        if ready["pid"] == process.pid:
            return str(ready["url"])
        time.sleep(0.1)
    sys.exit("the service did not start")


def submit(url: str) -> str:
    """Runs a job to success and returns its id."""
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    subprocess.run(
        [FLANT5, "submit", DATA, "--model", "flant5-demo", *settings, "--watch"],
        env=os.environ | {"FLANT5_URL": url},
        check=True,
    )
    listed = subprocess.run(
        [FLANT5, "jobs", "--json"],
        env=os.environ | {"FLANT5_URL": url},
        check=True,
        stdout=subprocess.PIPE,
    )
    job = json.loads(listed.stdout)["data"][0]
    if job["status"] != "succeeded":
        sys.exit(f"the job ended as {job['status']}: {job['error']}")
    return str(job["id"])


def answer(model_directory: Path, question: str) -> str:
    """Returns the model's answer, using plain transformers and no code of this project."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_directory)
    model = AutoModelForSeq2SeqLM.from_pretrained(model_directory).eval()
    ids = model.generate(**tokenizer(question, return_tensors="pt"), max_new_tokens=40)
    return str(tokenizer.decode(ids[0], skip_special_tokens=True))


def main() -> None:
    from flant5_train.data.prompt import _form_qa

    with service() as url:
        job_id = submit(url)
    directory = HOME / "jobs" / job_id / "output"
    first = json.loads(DATA.read_text(encoding="utf-8"))[0]["conversations"]
    question = _form_qa([first])[0].question
    print(f"\nmodel directory: {directory}")
    print(f"question: {first[0]['value']}")
    print(f"answer of a model that trained for a minute: {answer(directory, question)!r}")


if __name__ == "__main__":
    main()
