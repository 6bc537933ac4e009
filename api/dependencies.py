"""Dependencies of the routes: services, caller, and ownership of the requested object.

`Services` holds everything that routes use, built once. `get_job_or_404` and `get_file_or_404`
check ownership before a route runs. Objects of other owners return the same 404 as missing ones.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from redis import Redis

from api.auth import Caller
from api.chat.client import InferenceClient
from api.http.errors import JobNotRestoredError
from api.metrics import ApiMetrics
from api.services.recorder import Recorder
from api.services.reports import FileReportService, SubprocessRunner
from api.services.store_loss import StoreLoss
from api.settings import ApiSettings
from api.streaming.broadcast import StreamBroadcaster
from worker.jobs.deletion import Deletions
from worker.jobs.errors import NotFoundError
from worker.jobs.redis_address import RedisAddress
from worker.jobs.startup.service_identity import ServiceIdentity
from worker.jobs.storage.files import FileStore
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.storage.paths import Home
from worker.jobs.storage.store_losses import DataLossLog
from worker.jobs.storage.tombstones import Tombstones
from worker.jobs.storage.uploads import StorageQuota, UploadLimits, UploadStore
from worker.jobs.store.history import JobHistory
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.outbox import IntegrationRegistry
from worker.jobs.store.queue_status import QueuePosition, Submissions
from worker.jobs.store.recovery import RecoveryRequests
from worker.jobs.store.redis import open_redis
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry


@dataclass(frozen=True, slots=True)
class Services:
    """Services that routes use."""

    settings: ApiSettings
    home: Home
    redis: Redis
    store: JobStore
    recorder: Recorder
    queue_position: QueuePosition
    history: JobHistory
    files: FileStore
    quota: StorageQuota
    uploads: UploadStore
    models: ModelCatalog
    deletions: Deletions
    chats: InferenceClient
    programs: SubprocessRunner
    reports: FileReportService
    workers: WorkerRegistry
    submissions: Submissions
    integrations: IntegrationRegistry
    recovery: RecoveryRequests
    store_loss: StoreLoss
    identity: ServiceIdentity
    broadcaster: StreamBroadcaster
    metrics: ApiMetrics

    @classmethod
    def build(cls, settings: ApiSettings) -> Self:
        """Builds all services. Does not connect yet."""
        redis = open_redis(settings.redis_url)
        address = RedisAddress.parse(settings.redis_url.get_secret_value())
        store = JobStore(redis, settings.queue_policy)
        recovery = RecoveryRequests(store.scripts)
        store_loss = StoreLoss(DataLossLog(settings.home_directories.losses), recovery)
        programs = SubprocessRunner()
        broadcaster = StreamBroadcaster(settings.redis_url)
        models = ModelCatalog(settings, store)
        files = FileStore(settings.home_directories, settings.data_root)
        limits = UploadLimits(settings.max_upload_bytes, settings.upload_seconds)
        uploads = UploadStore(settings.home_directories, files, limits)
        return cls(
            settings=settings,
            home=settings.home_directories,
            redis=redis,
            store=store,
            recorder=Recorder(store, settings.home_directories),
            queue_position=QueuePosition(redis, settings.queue_policy),
            history=JobHistory(redis, settings.home_directories),
            files=files,
            quota=StorageQuota(files, uploads, max_bytes=settings.max_stored_bytes_per_key),
            uploads=uploads,
            models=models,
            deletions=Deletions(store, settings.home_directories),
            chats=InferenceClient(redis, settings),
            programs=programs,
            reports=FileReportService(files, models, programs),
            workers=WorkerRegistry(store.scripts),
            submissions=Submissions(redis),
            integrations=IntegrationRegistry(store.scripts),
            recovery=recovery,
            store_loss=store_loss,
            identity=ServiceIdentity(redis, settings.home_directories, address),
            broadcaster=broadcaster,
            metrics=ApiMetrics(
                redis, num_stream_clients=lambda: broadcaster.num_clients, store_loss=store_loss
            ),
        )


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]


_JOB_ID = re.compile(r"ftjob-[0-9a-z]{1,64}", re.ASCII)


async def get_job_or_404(
    services: ServicesDep,
    caller: CallerDep,
    job_id: Annotated[str, Path(description="The id of a job.")],
) -> AsyncIterator[None]:
    """Raises NotFoundError for a job that the caller may not see. If the job is missing in the
    store but recorded on disk, the store lost it. Then JobNotRestoredError replaces the route's
    NotFoundError."""
    if not _JOB_ID.fullmatch(job_id):
        # Not a valid job id: it must not become part of a path.
        raise NotFoundError(f"no job {job_id!r}")
    if not caller.sees_all:
        await run_in_threadpool(_refuse_foreign, services, caller, job_id)
    try:
        yield
    except NotFoundError as error:
        is_about_job = str(error) == f"no job {job_id!r}"
        if await run_in_threadpool(_is_lost, services, caller, job_id, is_about_job):
            raise JobNotRestoredError(
                f"job {job_id} is on disk but not in the store, which was lost or emptied; "
                "restore it with `flant5 recover`"
            ) from error
        raise


def get_file_or_404(
    services: ServicesDep,
    calling: CallerDep,
    file_id: Annotated[str, Path(description="The id of a file.")],
) -> None:
    """Raises NotFoundError for a file that the caller may not see."""
    services.files.get(file_id, owner=calling.owner_filter)


def _refuse_foreign(services: Services, caller: Caller, job_id: str) -> None:
    try:
        owner = services.store.owner_of(job_id)
    except NotFoundError:
        return  # the route raises it, with more details
    if not caller.may_see(owner):
        raise NotFoundError(f"no job {job_id!r}")


def _is_lost(services: Services, caller: Caller, job_id: str, was_unknown: bool) -> bool:
    """Returns True for a job whose record is on disk but not in the store. `was_unknown` means that
    the route did not find the job. The controller may have restored it since, and a 404 would then
    be wrong."""
    if not _JOB_ID.fullmatch(job_id):
        return False
    if not was_unknown and not services.store.unknown([job_id]):
        return False
    if services.store.deleted.is_unfinished(job_id) or Tombstones(services.home).has(job_id):
        return False  # it is deleted; its files may take a moment
    try:
        return caller.may_see(JobRecordStore(services.home).read(job_id).owner)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        # An unreadable record counts as lost, but only for admins, who can repair it.
        return caller.sees_all
