"""Repositories, uploads and commits: a function for each route."""

import base64
import hashlib
import json
import time
from typing import Any

from tests.hub.answers import Answer, RefusalError, commit_at, readable, refuse_strangers
from tests.hub.hub import Hub
from tests.hub.repository import LARGE, Blob, LargeFile, Repository, SmallFile


def create(hub: Hub, token: str, body: bytes) -> Answer:
    asked = json.loads(body)
    name = f"{asked['organization']}/{asked['name']}"
    refuse_strangers(hub, token, name)
    url = f"{hub.url}/{name}"
    if name in hub.repositories:
        return Answer({"error": "You already created this model repo", "url": url}, status=409)
    hub.repositories[name] = Repository(is_private=asked.get("visibility") == "private")
    return Answer({"url": url})


def validate(hub: Hub, token: str, body: bytes) -> Answer:
    assert json.loads(body)["repoType"] == "model"
    return Answer({"errors": [], "warnings": []})


def branch(hub: Hub, token: str, body: bytes, name: str, revision: str) -> Answer:
    refuse_strangers(hub, token, name)
    branches = readable(hub, token, name).branches
    if revision in branches:
        return Answer({"error": "Reference already exists"}, status=409)
    branches[revision] = list(branches["main"])
    return Answer({})


def preupload(hub: Hub, token: str, body: bytes, name: str, revision: str) -> Answer:
    refuse_strangers(hub, token, name)
    files = commit_at(readable(hub, token, name), revision).files
    told = []
    for asked in json.loads(body)["files"]:
        mode = "lfs" if asked["path"].endswith(LARGE) else "regular"
        there = files.get(asked["path"])
        oid = {} if there is None else {"oid": there.etag}
        told.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
    return Answer({"files": told})


def batch(hub: Hub, token: str, body: bytes, name: str) -> Answer:
    refuse_strangers(hub, token, name)
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
    refuse_strangers(hub, token, name)
    if hub.xet is None:
        raise RefusalError(404, "this hub has no Xet storage")
    return Answer({"casUrl": hub.xet.url, "exp": int(time.time()) + 3600, "accessToken": "of-xet"})


def commit(hub: Hub, token: str, body: bytes, name: str, revision: str) -> Answer:
    refuse_strangers(hub, token, name)
    repository = readable(hub, token, name)
    head = commit_at(repository, revision)
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
