"""Service container: everything that routes use, built once."""

from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Request
from redis import Redis

from api.chat.client import ChatDesk
from api.metrics import Metrics
from api.program_desk import ProgramDesk
from api.services.recorder import Recorder
from api.services.reports import ReportDesk
from api.services.store_loss import StoreLoss
from api.settings import ApiSettings
from api.streaming.broadcast import Tail
from worker.jobs.deletion import Deletions
from worker.jobs.offers import IntegrationOffers
from worker.jobs.quota import StorageQuota
from worker.jobs.redis_address import RedisAddress
from worker.jobs.startup.service_identity import ServiceIdentity
from worker.jobs.storage.files import FileStore
from worker.jobs.storage.paths import Home
from worker.jobs.storage.store_losses import LossLog
from worker.jobs.storage.uploads import UploadLimits, UploadStore
from worker.jobs.store.history import JobHistory
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.queue_status import WaitingRoom
from worker.jobs.store.recovery import RecoveryDesk
from worker.jobs.store.redis import open_redis
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry
from worker.jobs.submissions import Submissions


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
