"""One call: a curl command, run as it is shown, and its answer as it came."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A call to make. `{name}` in `command` stands for an id that an earlier answer had."""

    operation: str
    """The path of the OpenAPI document and its method, as `POST /v1/files`."""
    command: str
    """What the shell runs; `$FLANT5_URL` and `$AUTH` are set."""
    says: str = ""
    """A sentence above it."""
    keeps: Mapping[str, str] | None = None
    """Name -> field of the answer to be used in later calls."""

    def made(self, known: dict[str, str], *, environment: Mapping[str, str]) -> "Answer":
        """Run it; what it keeps is added to `known`.

        Raises ValueError when the command fails or an answer lacks what is to be kept.
        """
        command = self.command
        for name, value in known.items():
            command = command.replace(f"{{{name}}}", value)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env={**os.environ, **environment},
            cwd=environment["SCRATCH"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        # `head` ends as soon as it has its lines, and curl notices.
        if done.returncode not in (0, 23) and "| head" not in command:
            raise ValueError(f"{command}\nended with {done.returncode}: {done.stderr}")
        answer = Answer(command=command, text=done.stdout)
        for name, field in (self.keeps or {}).items():
            if not isinstance(answer.document, dict) or not answer.document.get(field):
                raise ValueError(f"{command}\nanswered without {field!r}: {done.stdout}")
            known[name] = str(answer.document[field])
        return answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What was run, and what it printed."""

    command: str
    text: str

    @property
    def document(self) -> Any:
        """The JSON that was answered; the text where it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return self.text
