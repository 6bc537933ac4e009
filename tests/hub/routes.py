"""The routes of the hub: a function each."""

import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.hub.hub import READ_TOKEN, WRITE_TOKEN, Hub
from tests.hub.repository import LARGE, Blob, Commit, LargeFile, Repository, SmallFile


@dataclass(frozen=True)
class Answer:
    """What a route says: a value for JSON, or the bytes of a file."""

    value: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()


class RefusalError(Exception):
    """An answer of 400 and more, as the hub words it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _refuse_strangers(hub: Hub, token: str, name: str) -> None:
    """Who may not write there is told so."""
    if token not in (READ_TOKEN, WRITE_TOKEN):
        raise RefusalError(401, "Invalid credentials in Authorization header")
    if token != WRITE_TOKEN or name.split("/")[0] not in hub.namespaces:
        raise RefusalError(
            403, f'You don\'t have the rights to create a model under the namespace "{name}"'
        )


def _readable(hub: Hub, token: str, name: str) -> Repository:
    """A repository that whoever shows this token may read; a private one does not exist for
    others."""
    if token and token not in (READ_TOKEN, WRITE_TOKEN):
        raise RefusalError(401, "Invalid credentials in Authorization header")
    repository = hub.repositories.get(name)
    if repository is None or (repository.is_private and not token):
        raise RefusalError(401, "Repository not found", "RepoNotFound")
    if repository.is_gated and not token:
        message = f"Access to model {name} is restricted. You must be authenticated to access it."
        raise RefusalError(401, message, "GatedRepo")
    return repository


def _commit(repository: Repository, revision: str) -> Commit:
    commit = repository.commit(revision)
    if commit is None:
        raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit


def create(hub: Hub, token: str, body: bytes) -> Answer:
    asked = json.loads(body)
    name = f"{asked['organization']}/{asked['name']}"
    _refuse_strangers(hub, token, name)
    url = f"{hub.url}/{name}"
    if name in hub.repositories:
        return Answer({"error": "You already created this model repo", "url": url}, status=409)
    hub.repositories[name] = Repository(is_private=asked.get("visibility") == "private")
    return Answer({"url": url})


def validate(hub: Hub, token: str, body: bytes) -> Answer:
    assert json.loads(body)["repoType"] == "model"
    return Answer({"errors": [], "warnings": []})


def info(hub: Hub, token: str, body: bytes, name: str, revision: str = "main") -> Answer:
    repository = _readable(hub, token, name)
    commit = _commit(repository, revision)
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
    commit = _commit(_readable(hub, token, name), revision)
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


def branch(hub: Hub, token: str, body: bytes, name: str, revision: str) -> Answer:
    _refuse_strangers(hub, token, name)
    branches = _readable(hub, token, name).branches
    if revision in branches:
        return Answer({"error": "Reference already exists"}, status=409)
    branches[revision] = list(branches["main"])
    return Answer({})


def preupload(hub: Hub, token: str, body: bytes, name: str, revision: str) -> Answer:
    _refuse_strangers(hub, token, name)
    files = _commit(_readable(hub, token, name), revision).files
    told = []
    for asked in json.loads(body)["files"]:
        mode = "lfs" if asked["path"].endswith(LARGE) else "regular"
        there = files.get(asked["path"])
        oid = {} if there is None else {"oid": there.etag}
        told.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
    return Answer({"files": told})


def batch(hub: Hub, token: str, body: bytes, name: str) -> Answer:
    _refuse_strangers(hub, token, name)
    asked = json.loads(body)
    assert asked["hash_algo"] == "sha256"
    objects = [
        {"oid": each["oid"], "size": each["size"]}
        | ({} if each["oid"] in hub.objects else {"actions": _actions(hub, each["oid"])})
        for each in asked["objects"]
    ]
    return Answer({"transfer": "basic", "objects": objects})


def _actions(hub: Hub, oid: str) -> dict[str, Any]:
    return {
        "upload": {"href": f"{hub.storage_url}/storage/{oid}"},
        "verify": {"href": f"{hub.url}/lfs/verify"},
    }


def store(hub: Hub, token: str, body: bytes, oid: str) -> Answer:
    if token:
        raise RefusalError(400, "Only one auth mechanism allowed")
    found = hashlib.sha256(body).hexdigest()
    if found != oid:
        raise RefusalError(400, f"The SHA-256 of {len(body)} bytes is {found}, not {oid}")
    hub.objects[oid] = body
    return Answer({})


def verify(hub: Hub, token: str, body: bytes) -> Answer:
    asked = json.loads(body)
    if len(hub.objects.get(asked["oid"], b"")) != asked["size"]:
        raise RefusalError(404, f"no object {asked['oid']} of {asked['size']} bytes")
    return Answer({})


def xet_token(hub: Hub, token: str, body: bytes, name: str, revision: str) -> Answer:
    _refuse_strangers(hub, token, name)
    if hub.xet is None:
        raise RefusalError(404, "this hub has no Xet storage")
    return Answer({"casUrl": hub.xet.url, "exp": int(time.time()) + 3600, "accessToken": "of-xet"})


def commit(hub: Hub, token: str, body: bytes, name: str, revision: str) -> Answer:
    _refuse_strangers(hub, token, name)
    repository = _readable(hub, token, name)
    head = _commit(repository, revision)
    operations = [json.loads(line) for line in body.splitlines()]
    header = operations[0]["value"]
    if header.get("parentCommit", head.oid) != head.oid:
        raise RefusalError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for operation in operations[1:]:
        _apply(operation["key"], operation["value"], hub=hub, files=files)
    made = repository.add(files, summary=header["summary"], branch=revision)
    return Answer({"commitUrl": f"{hub.url}/{name}/commit/{made.oid}", "commitOid": made.oid})


def _apply(key: str, value: dict[str, Any], *, hub: Hub, files: dict[str, Blob]) -> None:
    path = value["path"]
    if key == "file":
        files[path] = SmallFile(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        if not hub.holds(value["oid"]):
            raise RefusalError(400, f"{path}: LFS object {value['oid']} was not uploaded")
        files[path] = LargeFile(value["oid"], value["size"], hub.large_file)
    elif key == "deletedFile":
        if path not in files:
            raise RefusalError(400, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        del files[path]
    else:
        raise RefusalError(400, f"this hub knows no operation {key!r}")


def resolve(hub: Hub, token: str, body: bytes, name: str, revision: str, path: str) -> Answer:
    found = _commit(_readable(hub, token, name), revision)
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


_NAME = r"(?P<name>[^/]+/[^/]+)"
_API = rf"/api/models/{_NAME}"

ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("POST", "/api/repos/create", create),
    ("POST", "/api/validate-yaml", validate),
    ("GET", _API, info),
    ("GET", rf"{_API}/revision/(?P<revision>[^/]+)", info),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)", tree),
    ("POST", rf"{_API}/branch/(?P<revision>[^/]+)", branch),
    ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", preupload),
    ("POST", rf"{_API}/commit/(?P<revision>[^/]+)", commit),
    ("GET", rf"{_API}/xet-write-token/(?P<revision>[^/]+)", xet_token),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", batch),
    ("POST", "/lfs/verify", verify),
    ("PUT", "/storage/(?P<oid>[0-9a-f]{64})", store),
    ("GET", "/storage/(?P<oid>[0-9a-f]{64})", fetch),
    ("GET", rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
]
