"""docs/api.md shows every call, and what is answered today."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from api.app import create_app
from api.http.errors import INTERNAL, KINDS
from api.settings import ApiSettings
from examples.api_calls.call import Answer, Call
from examples.api_calls.fields import differences, operations
from examples.api_calls.page import Page
from worker.jobs.storage.filesystem import SortableId

DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"


def test_every_operation_of_the_contract_is_shown() -> None:
    paths = create_app(ApiSettings()).openapi()["paths"]
    contract = {f"{method.upper()} {path}" for path, of in paths.items() for method in of}
    assert contract - operations(DOCUMENT.read_text(encoding="utf-8")) == set()


def test_every_code_of_an_error_is_explained() -> None:
    prose = DOCUMENT.read_text(encoding="utf-8").partition("## Every call")[0]
    codes = {kind.code for kind in (*KINDS.values(), INTERNAL)}
    assert {code for code in codes if f"`{code}`" not in prose} == set()


def test_a_host_name_that_occurs_in_an_id_leaves_the_id_whole() -> None:
    call = Call("GET /v1/files", "curl", says="")
    answer = Answer(command="curl vm:8000", text='{"id": "file-1vm2", "at": "vm"}')
    shown = Page({"vm": "gpu-host"}).section([(call, answer)])
    assert '"file-1vm2"' in shown
    assert '"at": "gpu-host"' in shown
    assert "gpu-host:8000" in shown


def test_each_id_in_the_document_has_the_form_of_its_kind() -> None:
    ids = re.findall(r"\b(?:file-|upload_|part_)\d[\w-]*", DOCUMENT.read_text(encoding="utf-8"))
    kinds = [SortableId(prefix) for prefix in ("file-", "upload_", "part_")]
    assert {each for each in ids if not any(kind.matches(each) for kind in kinds)} == set()
    assert len(ids) > 10


def test_another_field_or_call_is_told() -> None:
    def document(*fields: str, operation: str = "GET /v1/x") -> str:
        body = ", ".join(f'"{field}": 1' for field in fields)
        return f"`{operation}`\n\nA sentence:\n\n```console\n$ curl\n{{{body}}}\n```\n"

    assert differences(shown=document("a", "b"), made=document("b", "a")) == []
    assert differences(shown=document("a", "b"), made=document("b", "c")) == [
        "GET /v1/x (1): no longer answered: a",
        "GET /v1/x (1): not shown: c",
    ]
    other = document("a", operation="POST /v1/y")
    assert differences(shown=document("a"), made=document("a") + other) == [
        "POST /v1/y (1): not in the document"
    ]
    assert differences(shown=other, made="") == ["POST /v1/y (1): in the document, and not called"]


@pytest.mark.stack
def test_the_document_shows_the_fields_that_are_answered() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.api_calls", "--check"],
        cwd=DOCUMENT.parents[1],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
