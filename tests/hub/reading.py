"""What is asked of a repository, and its files: a function for each route."""

from typing import Any

from tests.hub.answers import Answer, RefusalError, commit_at, readable
from tests.hub.hub import Hub
from tests.hub.repository import Blob


def info(hub: Hub, token: str, body: bytes, name: str, revision: str = "main") -> Answer:
    repository = readable(hub, token, name)
    commit = commit_at(repository, revision)
    siblings = [{"rfilename": path} for path in commit.files]
    return Answer(
        {
            "id": name,
            "modelId": name,
            "sha": commit.oid,
            "private": repository.is_private,
            "gated": "auto" if repository.is_gated else False,
            "siblings": siblings,
            "tags": [],
            "downloads": 0,
        }
    )


def tree(hub: Hub, token: str, body: bytes, name: str, revision: str) -> Answer:
    commit = commit_at(readable(hub, token, name), revision)
    return Answer([_entry(path, blob) for path, blob in commit.files.items()])


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file",
        "path": path,
        "oid": blob.oid,
        "size": blob.size,
    }
    if blob.is_large:
        entry["lfs"] = {"oid": blob.etag, "size": blob.size, "pointerSize": 134}
    return entry


def resolve(hub: Hub, token: str, body: bytes, name: str, revision: str, path: str) -> Answer:
    found = commit_at(readable(hub, token, name), revision)
    headers = {"X-Repo-Commit": found.oid, "Accept-Ranges": "bytes"}
    blob = found.files.get(path)
    if blob is None:
        return Answer(
            {"error": "Entry not found"}, 404, headers | {"X-Error-Code": "EntryNotFound"}
        )
    if not blob.is_large:
        return Answer(blob.content, headers=headers | {"ETag": f'"{blob.etag}"'})
    linked = {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(blob.size)}
    location = {"Location": f"{hub.storage_url}/storage/{blob.etag}"}
    hub.objects.setdefault(blob.etag, blob.content)
    return Answer(b"", 302, headers | linked | location)


def fetch(hub: Hub, token: str, body: bytes, oid: str) -> Answer:
    if token:
        raise RefusalError(400, "Only one auth mechanism allowed")
    if oid not in hub.objects:
        raise RefusalError(404, f"no object {oid}")
    return Answer(hub.objects[oid])
