"""What a hub keeps: repositories with branches, commits and files."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MAIN = "main"
LARGE = (".safetensors", ".model", ".png", ".bin")


class Blob(Protocol):
    """One file."""

    is_large: bool
    """Large ones are not in git, which has a pointer to them."""

    @property
    def content(self) -> bytes: ...

    @property
    def size(self) -> int: ...

    @property
    def oid(self) -> str:
        """Git's own name for it."""

    @property
    def etag(self) -> str: ...


@dataclass(frozen=True)
class SmallFile:
    """What git has itself."""

    content: bytes
    is_large = False

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def oid(self) -> str:
        return git_oid(self.content)

    @property
    def etag(self) -> str:
        return self.oid


@dataclass(frozen=True)
class LargeFile:
    """What is kept elsewhere, by its SHA-256; `read` gets it from there."""

    sha256: str
    size: int
    read: Callable[[str], bytes]
    is_large = True

    @property
    def content(self) -> bytes:
        content = self.read(self.sha256)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (self.sha256, self.size)
        return content

    @property
    def oid(self) -> str:
        head = "version https://git-lfs.github.com/spec/v1"
        return git_oid(f"{head}\noid sha256:{self.sha256}\nsize {self.size}\n".encode())

    @property
    def etag(self) -> str:
        return self.sha256


def git_oid(content: bytes) -> str:
    """Git's name for a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Commit:
    """A state of all files."""

    oid: str
    summary: str
    files: Mapping[str, Blob]


def commit_of(files: Mapping[str, Blob], *, summary: str, parent: str) -> Commit:
    """Its id depends on what is in it and on what was before it."""
    names = [f"{path} {blob.oid}" for path, blob in sorted(files.items())]
    oid = hashlib.sha1("\n".join([parent, summary, *names]).encode()).hexdigest()
    return Commit(oid, summary, files)


def first_commit() -> list[Commit]:
    """What a new repository has."""
    attributes = SmallFile("".join(f"*{end} filter=lfs\n" for end in LARGE).encode())
    return [commit_of({".gitattributes": attributes}, summary="initial commit", parent="")]


@dataclass
class Repository:
    """Branches, each a list of commits, the newest last."""

    is_private: bool
    is_gated: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=lambda: {MAIN: first_commit()})

    def commit(self, revision: str) -> Commit | None:
        """The newest of a branch, or the one with that id."""
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((each for each in self._all() if each.oid == revision), None)

    def summaries(self, branch: str = MAIN) -> list[str]:
        return [each.summary for each in self.branches[branch]]

    def add(self, files: Mapping[str, Blob], *, summary: str, branch: str = MAIN) -> Commit:
        """A commit with exactly these files."""
        parent = self.branches[branch][-1].oid
        self.branches[branch].append(commit_of(files, summary=summary, parent=parent))
        return self.branches[branch][-1]

    def _all(self) -> Iterator[Commit]:
        for commits in self.branches.values():
            yield from commits
