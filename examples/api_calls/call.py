"""One call: a curl command, run exactly as shown, and its response."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A call. `{name}` in `command` stands for an id from an earlier response."""

    operation: str
    """Method and path in the OpenAPI document, as in `POST /v1/files`."""
    command: str
    """Shell command; `$FLANT5_URL` and `$AUTH` are set."""
    says: str = ""
    """Sentence above the call in the document."""
    keeps: Mapping[str, str] | None = None
    """Name -> field of the response for use in later calls."""

    def made(self, known: dict[str, str], *, environment: Mapping[str, str]) -> "Answer":
        """Runs the command and adds the fields in `keeps` to `known`.

        Raises ValueError if the command fails or the response lacks such a field.
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
        # `head` exits after its last line, and curl then fails to write.
        if done.returncode not in (0, 23) and "| head" not in command:
            raise ValueError(f"{command}\nfailed with exit code {done.returncode}: {done.stderr}")
        answer = Answer(command=command, text=done.stdout)
        for name, field in (self.keeps or {}).items():
            if not isinstance(answer.document, dict) or not answer.document.get(field):
                raise ValueError(f"{command}\nresponse lacks {field!r}: {done.stdout}")
            known[name] = str(answer.document[field])
        return answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A command and its output."""

    command: str
    text: str

    @property
    def document(self) -> Any:
        """The parsed JSON response, or the text if it is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return self.text
