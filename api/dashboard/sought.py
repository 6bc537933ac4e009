"""Loads the object of a page, or renders an error page."""

from collections.abc import Callable
from typing import TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from nicegui import context, ui

from api.dashboard.ui.layout import frame
from worker.jobs.errors import JobsError, NotFoundError

Thing = TypeVar("Thing")


async def sought(request: Request, find: Callable[[], Thing]) -> Thing | None:
    """Returns the object. If it can't be loaded, builds an error page and returns None.

    Objects of other owners produce the same 404 as missing ones.
    """
    try:
        return await run_in_threadpool(find)
    except JobsError as error:
        is_missing = isinstance(error, NotFoundError)
        context.client.status_code = 404 if is_missing else 503
        title = "Not found" if is_missing else "Unavailable"
        with frame(request, title), ui.column().classes("empty"):
            ui.icon("search_off" if is_missing else "cloud_off").classes("empty-icon")
            ui.label(str(error))
            ui.link("All jobs", "/")
        return None
