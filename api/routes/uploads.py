"""Large files, uploaded in parts."""

from typing import Annotated

from fastapi import APIRouter, File, UploadFile

from api.dependencies import CallerDep, Services, ServicesDep
from api.http.upload_route import UploadRoute
from api.schemas.common import ListPage, UploadId
from api.schemas.files import CompleteUpload, CreateUpload, UploadObject, UploadPart
from api.services.outputs import disk_errors
from worker.jobs.errors import InvalidRequestError
from worker.jobs.storage.upload import AnnouncedFile, Upload, UploadStatus

_CHUNK_BYTES = 2**20

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=UploadRoute)


@router.post("")
def create_upload(services: ServicesDep, calling: CallerDep, body: CreateUpload) -> UploadObject:
    """Start an upload in parts, for files over the limit of `POST /files` and for unreliable
    networks.

    Must be completed before `expires_at`.
    """
    if body.expires_after is not None:
        message = "expires_after: not supported; files stay until they are deleted"
        raise InvalidRequestError(message, param="expires_after")
    announced = AnnouncedFile(
        filename=body.filename,
        purpose=body.purpose,
        mime_type=body.mime_type,
        num_bytes=body.bytes,
    )
    with disk_errors(), services.quota.reserved(body.bytes, owner=calling.owner):
        upload = services.uploads.create(announced, owner=calling.owner)
    return _shown(upload, services)


@router.get("/{upload_id}")
def retrieve_upload(services: ServicesDep, calling: CallerDep, upload_id: UploadId) -> UploadObject:
    """Get an upload. Not part of the SDK."""
    return _shown(services.uploads.get(upload_id, owner=calling.owner_filter), services)


@router.post("/{upload_id}/parts")
def create_part(
    services: ServicesDep,
    calling: CallerDep,
    upload_id: UploadId,
    data: Annotated[UploadFile, File(description="The bytes of the part.")],
) -> UploadPart:
    """Add a part of up to 64 MiB. Parts may be sent in parallel and in any order. If a part gets no
    response, send it again; it is then a new part.

    The part is on disk when the response is sent.
    """
    chunks = iter(lambda: data.file.read(_CHUNK_BYTES), b"")
    with disk_errors():
        part = services.uploads.add_part(upload_id, owner=calling.owner_filter, chunks=chunks)
    return UploadPart.of(part)


@router.get("/{upload_id}/parts")
def list_parts(
    services: ServicesDep, calling: CallerDep, upload_id: UploadId
) -> ListPage[UploadPart]:
    """List the stored parts, oldest first, to continue after an interruption. Not part of the SDK.
    Always returns all parts, at most 10,000."""
    parts = services.uploads.parts(upload_id, owner=calling.owner_filter)
    return ListPage[UploadPart].of([UploadPart.of(part) for part in parts])


@router.post("/{upload_id}/complete")
def complete_upload(
    services: ServicesDep, calling: CallerDep, upload_id: UploadId, body: CompleteUpload
) -> UploadObject:
    """Create the file from these parts, in this order. The response contains the complete `file`.

    If the request is rejected (wrong size or `md5`, unknown part), the upload stays pending.
    Repeating the request returns the same response.
    """
    owner = calling.owner_filter
    was = services.uploads.get(upload_id, owner=owner).status
    with disk_errors():
        upload = services.uploads.complete(
            upload_id, owner=owner, part_ids=body.part_ids, md5=body.md5
        )
    if was is not UploadStatus.COMPLETED:
        services.metrics.count_upload(upload.announced.num_bytes)
    return _shown(upload, services)


@router.post("/{upload_id}/cancel")
def cancel_upload(services: ServicesDep, calling: CallerDep, upload_id: UploadId) -> UploadObject:
    """Cancel an upload and remove its parts. No request body."""
    return _shown(services.uploads.cancel(upload_id, owner=calling.owner_filter), services)


def _shown(upload: Upload, services: Services) -> UploadObject:
    file = None
    if upload.status is UploadStatus.COMPLETED and upload.file_id is not None:
        file = services.files.find(upload.file_id)
    return UploadObject.of(upload, file=file)
