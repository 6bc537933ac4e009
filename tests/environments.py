"""Interpreters that have a few packages, and nothing of ours."""

import fcntl
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

_ROOT = Path(__file__).parents[1] / "build" / "environments"
_PIP_SECONDS = 600.0
_NUM_TRIES = 3


def interpreter_with(*requirements: str, shared: Sequence[str] = ()) -> Path:
    """The interpreter of an environment that is made once and kept in build/; what says that it is
    whole is written last. Test processes that want the same one wait for each other.

    `shared` are packages that are not installed again: it has this interpreter's own, with what
    those require. Raises AssertionError with the words of pip when it can't be made, without an
    index for one.
    """
    parts = [*requirements, *(f"{name}-{distribution(name).version}" for name in shared)]
    directory = _ROOT / "+".join(parts)
    python, is_whole = directory / "bin" / "python", directory / "is-whole"
    _ROOT.mkdir(parents=True, exist_ok=True)
    with (_ROOT / f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_whole.exists():
            run(sys.executable, "-m", "venv", "--clear", str(directory))
            _share(shared, directory)
            install = (str(python), "-m", "pip", "install", "--quiet", *requirements)
            run(*install, num_tries=_NUM_TRIES)
            is_whole.touch()
    return python


def node_modules_with(*requirements: str) -> Path:
    """A folder whose `node_modules` has those npm packages; made once, as environments are."""
    directory = _ROOT / "+".join(["npm", *(each.replace("/", "_") for each in requirements)])
    is_whole = directory / "is-whole"
    directory.mkdir(parents=True, exist_ok=True)
    with (_ROOT / f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_whole.exists():
            quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(directory))
            run("npm", "install", *quiet, *requirements, num_tries=_NUM_TRIES)
            is_whole.touch()
    return directory


def run(*argv: str, num_tries: int = 1) -> str:
    """The standard output of a program, which is run again when it fails, as an index may."""
    for number in range(1, num_tries + 1):
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=_PIP_SECONDS
        )
        if done.returncode == 0:
            return done.stdout
        assert number < num_tries, f"{' '.join(argv)} failed:\n{done.stdout}\n{done.stderr}"
    raise AssertionError("there is at least one try")


def _share(names: Sequence[str], directory: Path) -> None:
    """Links each package into a folder of its own, which pip and Python then find."""
    folder = directory / "shared"
    folder.mkdir()
    for found in _with_requirements(names):
        for top in {Path(file.parts[0]) for file in found.files or () if file.parts[0] != ".."}:
            link = folder / top
            if top.name != "__pycache__" and not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))).resolve())
    (packages,) = (directory / "lib").glob("python*/site-packages")
    (packages / "shared.pth").write_text(f"{folder}\n", encoding="utf-8")


def _with_requirements(names: Sequence[str]) -> list[Distribution]:
    """The packages and those that they need here."""
    found: dict[str, Distribution] = {}
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # a requirement of another platform
        needs = (Requirement(text) for text in found[name].requires or ())
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate()]
    return [*found.values()]
