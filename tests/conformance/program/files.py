"""Files and uploads."""

import hashlib
import io
from typing import Any

import openai

from tests.conformance.program.complete import all_of, complete
from tests.conformance.program.context import TALKS, Context, talks
from tests.conformance.program.refusals import refused


def files_go_up_in_each_form_the_sdk_takes(context: Context) -> None:
    path = context.directory / "on disk.json"
    path.write_bytes(TALKS)
    with context.client() as client:
        forms: list[Any] = [
            ("named.json", TALKS),
            ("typed.json", io.BytesIO(TALKS), "application/json"),
            path,
        ]
        for form in forms:
            file = complete(client.files.create(file=form, purpose="fine-tune"), of="FileObject")
            assert file.bytes == len(TALKS)
            assert file.purpose == "fine-tune"
        assert file.filename == path.name


def a_file_is_told_read_and_deleted(context: Context) -> None:
    with context.client() as client:
        file_id = talks(client)
        file = complete(client.files.wait_for_processing(file_id), of="FileObject")
        assert file.status == "processed"
        assert complete(client.files.retrieve(file_id), of="FileObject").id == file_id
        content = client.files.content(file_id)
        assert content.read() == TALKS
        assert client.files.content(file_id).text == TALKS.decode()
        target = context.directory / "down.json"
        content.write_to_file(target)
        assert target.read_bytes() == TALKS
        deleted = complete(client.files.delete(file_id), of="FileDeleted")
        assert deleted.deleted is True
        _is_refused(client, file_id)


def _is_refused(client: openai.OpenAI, file_id: str) -> None:
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with refused(openai.NotFoundError, says=file_id, code="not_found"):
            call(file_id)


def files_are_listed_by_pages_and_purpose_in_either_order(context: Context) -> None:
    with context.client() as client:
        ours = [talks(client, name=f"{number}.json") for number in range(5)]
        newest = [file.id for file in all_of(client.files.list, of="FileObject", limit=2)]
        assert newest[:5] == ours[::-1]
        oldest = all_of(client.files.list, of="FileObject", limit=3, order="asc")
        assert [file.id for file in oldest] == newest[::-1]
        some = all_of(client.files.list, of="FileObject", limit=2, purpose="fine-tune")
        assert {file.purpose for file in some} == {"fine-tune"}
        assert all_of(client.files.list, of="FileObject", limit=2, purpose="assistants") == []


def an_upload_of_parts_becomes_a_file(context: Context) -> None:
    with context.client() as client:
        upload = client.uploads.create(
            bytes=len(TALKS),
            filename="parts.json",
            mime_type="application/json",
            purpose="fine-tune",
        )
        assert complete(upload, of="Upload").status == "pending"
        middle = len(TALKS) // 2
        second = client.uploads.parts.create(upload.id, data=TALKS[middle:])
        first = client.uploads.parts.create(upload.id, data=TALKS[:middle])
        assert complete(first, of="UploadPart").upload_id == upload.id
        ids = [first.id, second.id]
        with refused(openai.BadRequestError, says="md5", code="invalid_value"):
            client.uploads.complete(upload.id, part_ids=ids, md5="0" * 32)
        md5 = hashlib.md5(TALKS).hexdigest()
        done = complete(client.uploads.complete(upload.id, part_ids=ids, md5=md5), of="Upload")
        assert done.status == "completed"
        assert done.file is not None
        assert client.files.content(done.file.id).read() == TALKS


def an_upload_is_cancelled(context: Context) -> None:
    with context.client() as client:
        upload = client.uploads.create(
            bytes=9, filename="parts.json", mime_type="application/json", purpose="fine-tune"
        )
        client.uploads.parts.create(upload.id, data=b"123")
        assert complete(client.uploads.cancel(upload.id), of="Upload").status == "cancelled"
        with refused(openai.BadRequestError, says="cancelled", code="invalid_value"):
            client.uploads.parts.create(upload.id, data=b"456789")


def a_large_file_goes_up_in_chunks_by_the_sdks_own_function(context: Context) -> None:
    path = context.directory / "chunks.json"
    path.write_bytes(TALKS)
    with context.client() as client:
        upload = client.uploads.upload_file_chunked(
            file=path, mime_type="application/json", purpose="fine-tune", part_size=100
        )
        file = complete(upload, of="Upload").file
        assert client.files.content(file.id).read() == TALKS
