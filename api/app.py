"""Application factory: combines routes, middleware and services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool

from api.auth import KeyRing, read_keys
from api.dashboard.mount import LazyDashboard
from api.dashboard.ui.auth import Sessions
from api.dependencies import Services
from api.http import errors
from api.http.audit import Audit, AuditLog
from api.http.middleware import (
    AuthMiddleware,
    BodyLimit,
    MetricsMiddleware,
    RequestContextMiddleware,
    SecurityHeaders,
)
from api.http.path_prefix import DocsPrefix
from api.http.query_checks import refuse_unknown_query
from api.http.rate_limit import RateLimit
from api.http.request_limits import RequestChecks, SlowBodyTimeout
from api.openapi import document
from api.routes import chat, files, history, jobs, models, operations, outputs, plans, uploads
from api.schemas.common import ErrorResponse
from api.settings import ApiSettings

_MAX_THREADS = 96
"""Requests served concurrently. While Redis hangs, each waits two seconds. With the default of 40,
the 41st would queue behind them and get its 503 too late. The Redis connection pool has 100
connections, so more threads would be refused one even when Redis works."""

_DESCRIPTION = """
Fine-tunes Flan-T5 on conversations. The paths under `/v1` are compatible with the `openai`
Python SDK. Fields and paths beyond it are documented where they appear.
"""
_TAGS = [
    {"name": "files", "description": "Conversations to train on."},
    {"name": "uploads", "description": "Large files, in parts. An upload survives restarts."},
    {"name": "fine-tuning", "description": "Jobs: submit, follow, pause, cancel."},
    {"name": "history", "description": "Events, log lines and checkpoints of a job; also live."},
    {"name": "outputs", "description": "The loss curve and the files of a job."},
    {"name": "models", "description": "Base models and fine-tuned models."},
    {"name": "chat", "description": "Chat completions of models."},
    {"name": "recovery", "description": "Recovery of job records from disk."},
    {"name": "health", "description": "Liveness and readiness."},
]


def create_app(settings: ApiSettings) -> FastAPI:
    """Returns the application. It connects to Redis on the first request.

    Raises KeysFileError when API keys are configured and can't be read.
    """
    services = Services.build(settings)
    app = FastAPI(
        title="flant5",
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        lifespan=_lifespan,
        redoc_url=None,
        # A redirect would go to the host that the request names.
        redirect_slashes=False,
        # `default` also keeps FastAPI from advertising its own shape of a 422.
        responses={"default": {"model": ErrorResponse, "description": "Any error."}},
    )
    app.state.services = services
    errors.install(app)
    document.install(app)
    app.add_middleware(
        BodyLimit, max_body_bytes=settings.max_body_bytes, max_file_bytes=settings.max_file_bytes
    )
    app.add_middleware(RateLimit, rates=settings.request_rates)
    keys = None
    if settings.api_keys_file is not None:
        read_keys(settings.api_keys_file)
        keys = KeyRing(settings.api_keys_file)
        app.add_middleware(AuthMiddleware, keys=keys)
    # Added after the gate, so they wrap it: rejected requests also get a request id, and are
    # audited and counted. The frame's responses to internal errors are counted too.
    app.add_middleware(RequestChecks, has_keys=settings.api_keys_file is not None)
    app.add_middleware(SlowBodyTimeout, patience_seconds=settings.client_timeout_seconds)
    app.add_middleware(Audit, log=AuditLog(services.home.audit))
    app.add_middleware(RequestContextMiddleware)
    app.add_middleware(DocsPrefix)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(MetricsMiddleware, metrics=services.metrics)
    for router in (operations.router, operations.metrics_router):
        app.include_router(router)
    for router in (
        files.router,
        plans.reports_router,
        uploads.router,
        plans.router,
        jobs.router,
        history.router,
        outputs.router,
        models.router,
        chat.router,
        operations.recovery_router,
    ):
        app.include_router(router, prefix="/v1", dependencies=[Depends(refuse_unknown_query)])
    dashboard = LazyDashboard(services, Sessions(keys))
    app.router.routes.append(dashboard)
    app.state.dashboard = dashboard
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    to_thread.current_default_thread_limiter().total_tokens = _MAX_THREADS
    await run_in_threadpool(services.files.remove_abandoned)
    try:
        async with services.broadcaster.running(), app.state.dashboard.door.running():
            yield
    finally:
        await run_in_threadpool(services.programs.close)
        await services.chats.close()
        services.redis.close()
