"""The rules of the house that no reader should have to check by eye."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def is_light(name: str) -> bool:
    """True for modules of the trainer that the service may import; none of them imports torch."""
    return within(name, "flant5_train.protocol") or name == "flant5_train.config"


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def own_imports(folder: str) -> Iterator[tuple[Path, str]]:
    for path in (REPOSITORY / folder).rglob("*.py"):
        for name in imports_of(path):
            if name.split(".")[0] in ("api", "worker", "flant5_train"):
                yield path, name


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_the_trainer_knows_nothing_of_the_service() -> None:
    for path, name in own_imports("flant5_train"):
        assert within(name, "flant5_train"), f"{path} imports {name}"


def test_the_contract_knows_only_the_trainers_formats() -> None:
    for path, name in own_imports("worker/jobs"):
        assert within(name, "worker.jobs") or is_light(name), f"{path} imports {name}"


def test_the_worker_reads_the_trainers_files_and_calls_none_of_its_code() -> None:
    for path, name in own_imports("worker"):
        assert within(name, "worker") or is_light(name), f"{path} imports {name}"


def test_the_api_knows_of_the_worker_only_the_contract() -> None:
    for path, name in own_imports("api"):
        allowed = within(name, "api") or within(name, "worker.jobs") or is_light(name)
        assert allowed, f"{path} imports {name}"


def test_the_public_names_of_the_trainer_can_be_imported() -> None:
    import flant5_train

    for name in flant5_train.__all__:
        assert callable(getattr(flant5_train, name))


@pytest.mark.parametrize("folder", ["api", "worker", "flant5_train"])
def test_the_environment_is_read_in_settings_only(folder: str) -> None:
    # torchrun tells a process its rank there, and a trainer's environment is made in launch.py.
    allowed = {"settings.py", "process.py", "launch.py"}
    for path in (REPOSITORY / folder).rglob("*.py"):
        if path.name not in allowed:
            assert "os.environ" not in path.read_text(encoding="utf-8"), path
