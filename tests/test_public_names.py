"""Names that callers use, compared with tests/public_names.json: a change of one is deliberate.

`python -m tests.test_public_names` writes the file anew.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

REPOSITORY = Path(__file__).parents[1]
FILE = REPOSITORY / "tests" / "public_names.json"
PROGRAMS = ("flant5_train.train", "flant5_train.check")
"""Programs that print their options; the others are started by the service, without any."""


def trainer_names() -> list[str]:
    tree = ast.parse((REPOSITORY / "flant5_train" / "__init__.py").read_text("utf-8"))
    (names,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return sorted(names)


def settings() -> list[str]:
    text = (REPOSITORY / ".env.example").read_text("utf-8")
    return sorted(set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)))


def commands() -> dict[str, list[str]]:
    from api.cli.main import app

    found: dict[str, list[str]] = {}

    def walk(command: Any, path: str) -> None:
        children = getattr(command, "commands", {})
        for name, child in children.items():
            walk(child, f"{path} {name}")
        if not children:
            found[path] = sorted(
                option
                for parameter in command.params
                for option in (*parameter.opts, *parameter.secondary_opts)
            )

    walk(typer.main.get_command(app), "flant5")
    return found


def rest() -> dict[str, Any]:
    from api.app import create_app
    from api.settings import ApiSettings

    document = create_app(ApiSettings()).openapi()
    return {
        "operations": {
            f"{method.upper()} {path}": sorted(
                f"{each['in']} {each['name']}" for each in operation.get("parameters", ())
            )
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        },
        "schemas": {
            name: sorted(schema.get("properties", schema.get("enum", ())))
            for name, schema in document["components"]["schemas"].items()
        },
    }


def public_names() -> dict[str, Any]:
    return {
        "trainer": trainer_names(),
        "settings": settings(),
        "commands": commands(),
        "rest": rest(),
    }


@pytest.mark.parametrize("part", ["trainer", "settings", "commands", "rest"])
def test_public_names_change_only_on_purpose(part: str) -> None:
    assert public_names()[part] == json.loads(FILE.read_text("utf-8"))[part]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_trainer_prints_its_options(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--" in done.stdout


if __name__ == "__main__":
    FILE.write_text(json.dumps(public_names(), indent=1, sort_keys=True) + "\n", "utf-8")
