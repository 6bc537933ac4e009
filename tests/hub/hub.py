"""A hub: who may what, what it keeps, and what goes wrong."""

import re
import threading
from dataclasses import dataclass, field

from tests.hub.repository import Repository
from tests.hub.xet import XetStore

WRITE_TOKEN = "hf_WriteTokenOfATest0001"
READ_TOKEN = "hf_ReadTokenOfATest000002"


@dataclass
class Fault:
    """What happens to the next request of that kind, once."""

    method: str
    path: str
    """A pattern that is found in the path."""
    status: int
    """0: the connection is cut, in the middle of what is uploaded."""
    message: str = "Internal Error - We're working hard to fix this as soon as possible!"

    def hits(self, method: str, path: str) -> bool:
        return method == self.method and re.search(self.path, path) is not None


@dataclass
class Hub:
    """Who may what, and what there is."""

    namespaces: tuple[str, ...] = ("my-org",)
    """Where `WRITE_TOKEN` may write."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files by SHA-256."""
    xet: XetStore | None = None
    """Where large files go that are uploaded by Xet."""
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    hold: threading.Event | None = None
    """When set, an upload of a large file waits for it."""
    uploading: threading.Event = field(default_factory=threading.Event)
    """Set when an upload of a large file has begun."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage_url(self) -> str:
        """The host of large files."""
        return f"http://localhost:{self.port}"

    def holds(self, sha256: str) -> bool:
        """Whether a large file was uploaded."""
        return sha256 in self.objects or (self.xet is not None and sha256 in self.xet.files())

    def large_file(self, sha256: str) -> bytes:
        """One that was."""
        if sha256 not in self.objects:
            assert self.xet is not None
            self.objects[sha256] = self.xet.read(sha256)
        return self.objects[sha256]

    def fault_of(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.hits(method, path):
                self.faults.remove(fault)
                return fault
        return None
