"""Xet's storage in a directory: the client that uploads to the public hub writes there when the hub
names a `local://` address."""

import struct
from dataclasses import dataclass
from pathlib import Path

import hf_xet

_ENTRY = 48
"""Bytes of each entry in a shard: a hash and 16 bytes more."""
_HAS_VERIFICATION = 1 << 31
_HAS_SHA256 = 1 << 30
_END = b"\xff" * 32


@dataclass(frozen=True)
class XetStore:
    """What was uploaded; its shards tell which chunks a file is made of, and its SHA-256."""

    directory: Path

    @property
    def url(self) -> str:
        return f"local://{self.directory}"

    def files(self) -> dict[str, tuple[str, int]]:
        """SHA-256 -> (Xet's name for it, its size)."""
        found: dict[str, tuple[str, int]] = {}
        for shard in self.directory.rglob("shards/*.mdb"):
            found |= _files_of(shard.read_bytes())
        return found

    def read(self, sha256: str) -> bytes:
        """The file, put together again by Xet itself. Not while an uploader has the store open."""
        name, size = self.files()[sha256]
        target = self.directory / f"read-{sha256}"
        with hf_xet.XetSession().new_file_download_group(endpoint=self.url) as group:
            group.start_download_file(hf_xet.XetFileInfo(name, size), str(target))
        return target.read_bytes()


def _files_of(shard: bytes) -> dict[str, tuple[str, int]]:
    found = {}
    at = _ENTRY
    while (name := shard[at : at + 32]) != _END:
        flags, num_segments = struct.unpack_from("<II", shard, at + 32)
        segments = at + _ENTRY
        sizes = [
            struct.unpack_from("<I", shard, segments + number * _ENTRY + 36)[0]
            for number in range(num_segments)
        ]
        at = segments + num_segments * _ENTRY * (2 if flags & _HAS_VERIFICATION else 1)
        if flags & _HAS_SHA256:
            found[_hex(shard[at : at + 32])] = (_hex(name), sum(sizes))
            at += _ENTRY
    return found


def _hex(name: bytes) -> str:
    """As Xet writes it: four numbers of 64 bits."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", name))
