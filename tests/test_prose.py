"""Docstrings begin with what a thing does, and software does not speak."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
HEADLESS = re.compile(r"(What|Which|Whether|Where|How|Who|Whoever|Why|Whose|Those|That)\\b")
SPEECH = re.compile(
    r"\\b(told|tells?|telling|sa(?:y|ys|id|ying)|hears?|heard|hearing|wish(?:es|ed)?|words)\\b",
    re.I,
)


def docstrings() -> Iterator[str]:
    for top in ("api", "worker", "flant5_train"):
        for path in (REPOSITORY / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(
                    node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
                ) and (text := ast.get_docstring(node)):
                    yield text


def test_docstrings_begin_with_what_the_thing_does() -> None:
    headless = [text for text in docstrings() if HEADLESS.match(text)]
    assert len(headless) <= 0.03 * sum(1 for _ in docstrings()), headless


@pytest.mark.parametrize("root", ["api", "worker", "flant5_train", "docs"])
def test_machines_do_not_speak(root: str) -> None:
    pages = [*(REPOSITORY / root).rglob("*.py"), *(REPOSITORY / root).rglob("*.md")]
    lines = [line for page in pages for line in page.read_text("utf-8").splitlines()]
    spoken = [line.strip() for line in lines if SPEECH.search(line)]
    assert len(spoken) <= 0.002 * len(lines), spoken
