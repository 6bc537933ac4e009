"""`python -m tests.conformance.program CONTEXT.json`: the result of each check, as JSON.

{"version": "1.109.1", "passed": ["name", ...], "problems": {"name": "its traceback", ...}}
"""

import json
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import openai

from tests.conformance.program.checks import CHECKS
from tests.conformance.program.context import Context, submit, talks


def main(path: Path) -> None:
    given = json.loads(path.read_text())
    context = Context(**given | {"directory": path.parent})
    with context.client() as client:
        trained = submit(client, talks(client)).id
    context = replace(context, trained=trained)
    problems: dict[str, str] = {}
    passed: list[str] = []
    for name, check in CHECKS.items():
        try:
            check(context)
        except Exception:  # noqa: BLE001 - told by the test that asked for it
            problems[name] = traceback.format_exc()
        else:
            passed.append(name)
    print(json.dumps({"version": openai.__version__, "problems": problems, "passed": passed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
