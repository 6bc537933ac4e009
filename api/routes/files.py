"""Training files."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from fastapi.responses import FileResponse

from api.dependencies import CallerDep, ServicesDep, get_file_or_404
from api.http.upload_route import UploadRoute
from api.schemas.common import MOST_ITEMS, After, FileDeleted, ListPage
from api.schemas.files import FileObject
from api.services import deletion
from api.services.outputs import FileDownload, store_upload
from worker.jobs.errors import InvalidRequestError
from worker.jobs.storage.files import StoredFile

_OF_ONE_FILE = [Depends(get_file_or_404)]

router = APIRouter(prefix="/files", tags=["files"], route_class=UploadRoute)


@router.post("")
def create_file(
    services: ServicesDep,
    calling: CallerDep,
    file: Annotated[UploadFile, File(description="The file with the conversations.")],
    purpose: Annotated[Literal["fine-tune"], Form(description="What the file is for.")],
    expires_after: Annotated[
        str | None, Form(alias="expires_after[anchor]", description="Not supported. Omit it.")
    ] = None,
) -> FileObject:
    """Upload conversations: a ShareGPT JSON array, the same as JSONL, or chat `messages` JSONL.

    The content is checked by the job that uses the file.
    """
    if expires_after is not None:
        message = "expires_after: not supported; files stay until they are deleted"
        raise InvalidRequestError(message, param="expires_after")
    return FileObject.of(
        store_upload(file, purpose=purpose, owner=calling.owner, services=services)
    )


@router.get("")
def list_files(
    services: ServicesDep,
    calling: CallerDep,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description=MOST_ITEMS)] = 10_000,
    order: Annotated[
        Literal["asc", "desc"], Query(description="`asc`: oldest first, `desc`: newest first.")
    ] = "desc",
    purpose: Annotated[str | None, Query(description="Only files with this purpose.")] = None,
) -> ListPage[FileObject]:
    """List all files that the key may see, newest first."""

    def wanted(file: StoredFile) -> bool:
        return calling.may_see(file.owner) and purpose in (None, file.purpose)

    page = services.files.list(wanted, after=after, limit=limit, order=order)
    files = [FileObject.of(stored) for stored in page.items]
    return ListPage[FileObject].of(files, has_more=page.has_more)


@router.get("/{file_id}", dependencies=_OF_ONE_FILE)
def retrieve_file(services: ServicesDep, file_id: str) -> FileObject:
    """Get a file's metadata."""
    return FileObject.of(services.files.get(file_id))


@router.delete("/{file_id}", dependencies=_OF_ONE_FILE)
def delete_file(services: ServicesDep, calling: CallerDep, file_id: str) -> FileDeleted:
    """Delete a file. Returns 409 if a job that has not ended uses it."""
    freed = deletion.delete_file(file_id, caller=calling, services=services)
    return FileDeleted(id=file_id, freed_bytes=freed)


@router.get("/{file_id}/content", response_class=FileResponse, dependencies=_OF_ONE_FILE)
def retrieve_file_content(services: ServicesDep, file_id: str) -> FileDownload:
    """Download a file as it was uploaded."""
    content = services.files.content_path(file_id)
    return FileDownload(content, filename=services.files.get(file_id).filename)
