"""docs/lifecycle.md names what there is: each path, class, member, function and setting."""

import ast
import re
from pathlib import Path

from worker.jobs.job import Status

REPOSITORY = Path(__file__).parents[1]
PRODUCT = ("api", "worker", "flant5_train")
STATUSES = {status.value for status in Status}
OTHERS = {"Trainer"}
"""Classes of libraries."""


def test_each_path_in_the_lifecycle_exists() -> None:
    text = (REPOSITORY / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:api|worker|flant5_train)/[\w/]+(?:\.py|\.lua|/)?)`", text))
    assert len(paths) > 60
    assert not [path for path in sorted(paths) if not (REPOSITORY / path).exists()]


def test_each_name_in_the_lifecycle_is_defined() -> None:
    text = (REPOSITORY / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    members, functions = defined_names()
    known = functions | members.keys() | {each for names in members.values() for each in names}
    named = set(re.findall(r"`([A-Za-z_]+(?:\.[A-Za-z_]+)?)`", text))
    classes = {name for name in named if re.match(r"[A-Z]\w*[a-z]", name)}
    assert len(classes) > 40
    for name in sorted(classes - OTHERS):
        of, _, member = name.partition(".")
        assert of in members, name
        assert not member or member in members[of], name
    settings = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    for name in sorted(named - classes):
        if name.startswith("FLANT5_"):
            assert f"{name}=" in settings, name
        elif "_" in name and "." not in name and name not in STATUSES:
            assert name in known, name


def defined_names() -> tuple[dict[str, set[str]], set[str]]:
    """The members of each class, and the functions and variables of all modules and scripts."""
    members: dict[str, set[str]] = {}
    functions: set[str] = set()
    paths = [
        path for top in ("api", "worker", "flant5_train") for path in (REPOSITORY / top).rglob("*")
    ]
    for path in paths:
        if path.suffix == ".lua":
            functions |= set(re.findall(r"function (\w+)", path.read_text(encoding="utf-8")))
        elif path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            functions |= names_in(tree)
            functions |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    members[node.name] = members.get(node.name, set()) | names_in(node)
    return members, functions


def names_in(node: ast.Module | ast.ClassDef) -> set[str]:
    names = set()
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(each.name)
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            names.add(each.target.id)
        elif isinstance(each, ast.Assign):
            names |= {target.id for target in each.targets if isinstance(target, ast.Name)}
    return names
