"""Dependencies of the routes: services, caller, and ownership of the requested object.

`Services` holds everything that routes use, built once. `own_job` and `own_file` check ownership
before a route runs. Objects of other owners return the same 404 as missing ones.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from redis import Redis

from api.auth import Caller
from api.chat.client import ChatDesk
from api.http.errors import JobNotRestoredError
from api.metrics import Metrics
from api.services.recorder import Recorder
from api.services.reports import ProgramDesk, ReportDesk
from api.services.store_loss import StoreLoss
from api.settings import ApiSettings
from api.streaming.broadcast import Tail
from worker.jobs.deletion import Deletions
from worker.jobs.errors import NotFoundError
from worker.jobs.redis_address import RedisAddress
from worker.jobs.startup.service_identity import ServiceIdentity
from worker.jobs.storage.files import FileStore
from worker.jobs.storage.job_record import Ledger
from worker.jobs.storage.paths import Home
from worker.jobs.storage.store_losses import LossLog
from worker.jobs.storage.tombstones import Tombstones
from worker.jobs.storage.uploads import StorageQuota, UploadLimits, UploadStore
from worker.jobs.store.history import JobHistory
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.outbox import IntegrationOffers
from worker.jobs.store.queue_status import Submissions, WaitingRoom
from worker.jobs.store.recovery import RecoveryDesk
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
    waiting_room: WaitingRoom
    history: JobHistory
    files: FileStore
    quota: StorageQuota
    uploads: UploadStore
    models: ModelCatalog
    deletions: Deletions
    chats: ChatDesk
    programs: ProgramDesk
    reports: ReportDesk
    workers: WorkerRegistry
    submissions: Submissions
    integrations: IntegrationOffers
    recovery: RecoveryDesk
    store_loss: StoreLoss
    identity: ServiceIdentity
    tail: Tail
    metrics: Metrics

    @classmethod
    def build(cls, settings: ApiSettings) -> Self:
        """Builds all services. Does not connect yet."""
        redis = open_redis(settings.redis_url)
        address = RedisAddress.parse(settings.redis_url.get_secret_value())
        store = JobStore(redis, settings.rules)
        recovery = RecoveryDesk(store.scripts)
        store_loss = StoreLoss(LossLog(settings.home_directories.losses), recovery)
        programs = ProgramDesk()
        tail = Tail(settings.redis_url)
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
            waiting_room=WaitingRoom(redis, settings.rules),
            history=JobHistory(redis, settings.home_directories),
            files=files,
            quota=StorageQuota(files, uploads, max_bytes=settings.max_stored_bytes_per_key),
            uploads=uploads,
            models=models,
            deletions=Deletions(store, settings.home_directories),
            chats=ChatDesk(redis, settings),
            programs=programs,
            reports=ReportDesk(files, models, programs),
            workers=WorkerRegistry(store.scripts),
            submissions=Submissions(redis),
            integrations=IntegrationOffers(store.scripts),
            recovery=recovery,
            store_loss=store_loss,
            identity=ServiceIdentity(redis, settings.home_directories, address),
            tail=tail,
            metrics=Metrics(
                redis, num_stream_clients=lambda: tail.num_clients, store_loss=store_loss
            ),
        )


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Wired = Annotated[Services, Depends(_services)]


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Calling = Annotated[Caller, Depends(_caller)]


_JOB_ID = re.compile(r"ftjob-[0-9a-z]{1,64}", re.ASCII)


async def own_job(
    services: Wired,
    calling: Calling,
    job_id: Annotated[str, Path(description="The id of a job.")],
) -> AsyncIterator[None]:
    """Raises NotFoundError for a job that the caller may not see. If the job is missing in the
    store but recorded on disk, the store lost it. Then JobNotRestoredError replaces the route's
    NotFoundError."""
    if not _JOB_ID.fullmatch(job_id):
        # Not a valid job id: it must not become part of a path.
        raise NotFoundError(f"no job {job_id!r}")
    if not calling.sees_all:
        await run_in_threadpool(_refuse_foreign, services, calling, job_id)
    try:
        yield
    except NotFoundError as error:
        is_about_job = str(error) == f"no job {job_id!r}"
        if await run_in_threadpool(_is_lost, services, calling, job_id, is_about_job):
            raise JobNotRestoredError(
                f"job {job_id} is on disk but not in the store, which was lost or emptied; "
                "restore it with `flant5 recover`"
            ) from error
        raise


def own_file(
    services: Wired,
    calling: Calling,
    file_id: Annotated[str, Path(description="The id of a file.")],
) -> None:
    """Raises NotFoundError for a file that the caller may not see."""
    services.files.get(file_id, owner=calling.limited_to)


def _refuse_foreign(services: Services, caller: Caller, job_id: str) -> None:
    try:
        owner = services.store.owner_of(job_id)
    except NotFoundError:
        return  # the route raises it, with more details
    if not caller.may_see(owner):
        raise NotFoundError(f"no job {job_id!r}")


def _is_lost(services: Services, caller: Caller, job_id: str, was_unknown: bool) -> bool:
    """Returns True for a job whose record is on disk but not in the store. `was_unknown` means that
    the route did not find the job. The keeper may have restored it since, and a 404 would then be
    wrong."""
    if not _JOB_ID.fullmatch(job_id):
        return False
    if not was_unknown and not services.store.unknown([job_id]):
        return False
    if services.store.ended.is_forgotten(job_id) or Tombstones(services.home).has(job_id):
        return False  # it is deleted; its files may take a moment
    try:
        return caller.may_see(Ledger(services.home).read(job_id).owner)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        # An unreadable record counts as lost, but only for admins, who can repair it.
        return caller.sees_all
