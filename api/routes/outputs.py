"""Outputs of a job: its loss curve and its files."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api.dependencies import ServicesDep, get_job_or_404
from api.schemas.common import ListPage
from api.schemas.files import Artifact
from api.schemas.history import Metrics
from api.services.outputs import FileDownload, find_artifact, list_artifacts, read_curve

ArtifactPath = Annotated[
    str, Path(description="Path of a file or directory, relative to the output directory.")
]

router = APIRouter(
    prefix="/fine_tuning/jobs/{job_id}",
    tags=["outputs"],
    dependencies=[Depends(get_job_or_404)],
)


@router.get("/metrics")
def retrieve_metrics(services: ServicesDep, job_id: str) -> Metrics:
    """Get the loss curve so far, as columns."""
    job = services.store.get(job_id)
    return read_curve(services.home.run_directory(job.id).progress)


@router.get("/artifacts")
def list_job_artifacts(services: ServicesDep, job_id: str) -> ListPage[Artifact]:
    """List all files of a job's output: checkpoints and the final model."""
    job = services.store.get(job_id)
    output = services.home.run_directory(job.id).output
    return ListPage[Artifact].of(list_artifacts(output, find_artifact(output, "")))


@router.get("/artifacts/{path:path}", response_model=ListPage[Artifact])
def retrieve_artifact(
    services: ServicesDep, job_id: str, path: ArtifactPath
) -> ListPage[Artifact] | FileDownload:
    """Download a file of a job's output. For a directory, list the files under it."""
    job = services.store.get(job_id)
    output = services.home.run_directory(job.id).output
    found = find_artifact(output, path)
    if found.is_dir():
        return ListPage[Artifact].of(list_artifacts(output, found))
    return FileDownload(found, filename=found.name)
