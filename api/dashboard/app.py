"""Dashboard application with all pages. `door` imports it on first use."""

from functools import cache, partial
from importlib.resources import files

from fastapi import FastAPI, Request, UploadFile
from nicegui import app as pages
from nicegui import ui
from starlette.staticfiles import StaticFiles

from api.dashboard.chat.page import chat_page, opened_conversation
from api.dashboard.data_files.page import files_page
from api.dashboard.jobs import outputs
from api.dashboard.jobs.compare_page import compare_page
from api.dashboard.jobs.job_page import job_page
from api.dashboard.jobs.list_page import jobs_page
from api.dashboard.jobs.rows import SharedPageCache
from api.dashboard.models_page import models_page
from api.dashboard.new_job.page import new_job_page
from api.dashboard.ui import auth
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.layout import load_or_404, record_audit_event
from api.dependencies import Services
from api.http import errors
from api.http.upload_route import UploadRoute
from api.schemas.files import FileObject
from api.services.outputs import store_upload

_PAGE_SECONDS = 30.0
"""Timeout for building a page; Redis may be slow."""


@cache
def dashboard_app() -> FastAPI:
    """Returns the dashboard application. NiceGUI has one set of pages per process."""
    shell = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    errors.install(shell)
    shell.include_router(auth.router)
    shell.include_router(outputs.router)
    shell.router.add_api_route(
        "/upload", _upload, methods=["POST"], route_class_override=_DroppedFileRoute
    )
    static = StaticFiles(directory=str(files("api.dashboard").joinpath("static")))
    shell.mount("/dashboard/static", static)
    _add_pages(SharedPageCache())
    ui.run_with(
        shell,
        title="flant5",
        favicon=str(files("api.dashboard").joinpath("static/icon.svg")),
        language="en-US",
        binding_refresh_interval=None,
        tailwind=False,
        show_welcome_message=False,
    )
    pages.colors(primary="#3457d5", negative="#b3261e", positive="#1b7f4b")
    return shell


class _DroppedFileRoute(UploadRoute):
    @staticmethod
    def services_of(request: Request) -> Services:
        return SessionUser.of(request).services


def _upload(request: Request, file: UploadFile) -> FileObject:
    """Stores a file that was dropped on a page."""
    user = SessionUser.of(request)
    caller, services = user.changing(), user.services
    stored = store_upload(file, purpose="fine-tune", owner=caller.owner, services=services)
    record_audit_event("POST /v1/files", stored.id, caller=caller, services=services)
    return FileObject.of(stored)


def _add_pages(page_cache: SharedPageCache) -> None:
    page = partial(ui.page, response_timeout=_PAGE_SECONDS)

    @page("/")
    def jobs(request: Request) -> None:
        jobs_page(request, page_cache)

    @page("/jobs/{job_id}")
    async def job(request: Request, job_id: str) -> None:
        if found := await load_or_404(request, partial(SessionUser.of(request).job, job_id)):
            job_page(request, found, page_cache)

    @page("/new")
    def new(request: Request) -> None:
        new_job_page(request)

    @page("/compare")
    def compare(request: Request) -> None:
        compare_page(request, page_cache)

    @page("/files")
    def uploaded(request: Request) -> None:
        files_page(request)

    @page("/models")
    def models(request: Request) -> None:
        models_page(request)

    @page("/chat")
    async def chat(request: Request) -> None:
        if opened := await load_or_404(request, partial(opened_conversation, request)):
            chat_page(request, opened)
