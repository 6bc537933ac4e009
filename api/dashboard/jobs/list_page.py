"""The list of jobs at `/`."""

from fastapi import Request
from nicegui import ui

from api.dashboard.jobs.actions import ActionButtons, Look
from api.dashboard.jobs.rows import Found, JobRow, Search, SharedPageCache, find_jobs
from api.dashboard.jobs.sparkline import HEIGHT, WIDTH
from api.dashboard.ui.auth import SessionUser
from api.dashboard.ui.layout import Poller, page_layout, replace_address
from worker.jobs.job import Status

_STATUSES = {"": "All statuses"} | {status.value: status.replace("_", " ") for status in Status}


def jobs_page(request: Request, page_cache: SharedPageCache) -> None:
    """Builds the page."""
    user, search = SessionUser.of(request), Search.of(request.query_params)
    with page_layout(request, "Jobs", here="/"):
        _JobsPage(user, search, page_cache)


class _JobsPage:
    def __init__(self, user: SessionUser, search: Search, page_cache: SharedPageCache) -> None:
        self._user = user
        self._search = search
        self._page_cache = page_cache
        self._older: str | None = None
        self._views: list[_RowView] = []
        self._filters()
        self._list = ui.element("div").classes("jobs")
        self._nothing = ui.column().classes("empty")
        with ui.row().classes("pager"):
            self._first = ui.button("Newest", icon="first_page", on_click=self._to_first)
            self._next = ui.button("Older", icon="chevron_right", on_click=self._to_next)
            for button in (self._first, self._next):
                button.props("flat dense no-caps").set_visibility(False)
        self._poller = Poller(self._read, self._show)

    def _read(self) -> tuple[Search, Found]:
        search = self._search
        return search, find_jobs(self._user, search, self._page_cache.rows)

    def _show(self, answer: tuple[Search, Found]) -> None:
        search, found = answer
        if search != self._search:
            return  # an outdated result: the filter has changed meanwhile
        self._older = found.older
        with self._list:
            for _ in range(len(self._views), len(found.rows)):
                self._views.append(_RowView(self._user, self._poller.refresh))
        while len(self._views) > len(found.rows):
            self._views.pop().delete()
        for view, row in zip(self._views, found.rows, strict=True):
            view.show(row)
        self._first.set_visibility(search.after is not None)
        self._next.set_visibility(found.older is not None)
        self._say_nothing(search, is_empty=not found.rows)

    def _filters(self) -> None:
        with ui.row().classes("filters"):
            ui.select(
                _STATUSES,
                value=self._search.status or "",
                on_change=lambda event: self._look_for(status=event.value),
            ).props('outlined dense options-dense aria-label="Status"').classes("status-filter")
            terms = ui.input(
                placeholder="Id, name, model, data, owner …",
                value=self._search.terms,
                on_change=lambda event: self._look_for(terms=event.value or ""),
            )
            terms.props('outlined dense clearable debounce=300 aria-label="Filter"')
            terms.classes("text-filter")
            ui.space()
            new = ui.button("New job", icon="add", on_click=lambda: ui.navigate.to("/new"))
            new.props("unelevated no-caps")

    async def _look_for(self, *, status: str | None = None, terms: str | None = None) -> None:
        old = self._search
        wanted = old.status if status is None else (Status(status) if status else None)
        await self._go(Search(status=wanted, terms=old.terms if terms is None else terms[:200]))

    async def _to_next(self) -> None:
        await self._go(self._search.behind(self._older))

    async def _to_first(self) -> None:
        await self._go(self._search.behind(None))

    async def _go(self, search: Search) -> None:
        self._search = search
        replace_address(search.address)
        await self._poller.refresh()

    def _say_nothing(self, search: Search, *, is_empty: bool) -> None:
        self._nothing.clear()
        self._nothing.set_visibility(is_empty)
        if not is_empty:
            return
        with self._nothing:
            ui.icon("model_training").classes("empty-icon")
            if search.is_filter or search.after:
                ui.label("No jobs match.")
                return
            ui.label("No jobs yet").classes("heading")
            ui.label(
                "Upload a file of conversations, check its report, choose a model, and start your "
                "first job."
            )
            first = ui.button("Upload conversations", on_click=lambda: ui.navigate.to("/new"))
            first.props("unelevated no-caps icon=upload_file")


class _RowView:
    """One row of the list. Only changed values are sent to the browser."""

    def __init__(self, user: SessionUser, look: Look) -> None:
        self._row: JobRow | None = None
        with ui.element("article").classes("job") as self._whole:
            with ui.element("div").classes("job-what"):
                self._link = ui.link("", "/").classes("job-name")
                self._about = ui.label().classes("quiet one-line")
            with ui.element("div").classes("job-state"):
                self._status = ui.label().classes("chip")
                self._doing = ui.label().classes("quiet two-lines")
            with ui.element("div").classes("job-progress"):
                self._bar = ui.linear_progress(value=0, show_value=False, size="6px")
                self._bar.props("rounded")
                self._progress = ui.label().classes("quiet one-line")
            with ui.element("div").classes("job-loss") as self._loss_box:
                shape = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
                with ui.element("svg").props(f'{shape} aria-hidden="true"'):
                    self._curve = ui.element("polyline").classes("sparkline")
                self._loss = ui.label().classes("quiet one-line")
            self._actions = ActionButtons(user, look, are_small=True)

    def show(self, row: JobRow) -> None:
        if row == self._row:
            return
        self._row = row
        self._link.set_text(row.name)
        self._set(self._link, "href", f"/jobs/{row.id}")
        self._about.set_text(
            " · ".join(filter(None, (row.model, row.data, row.owner, row.created)))
        )
        self._set(self._about, "title", f"{row.model}\n{row.data}\n{row.id}")
        self._status.set_text(row.status.replace("_", " "))
        self._status.classes(replace=f"chip {row.status}")
        self._doing.set_text(row.activity_label)
        self._set(self._doing, "title", row.activity_label)
        self._bar.set_value(row.share)
        self._progress.set_text(row.progress)
        self._loss.set_text(row.loss)
        self._loss_box.classes(replace="job-loss" if row.curve else "job-loss bare")
        self._set(self._curve, "points", row.curve)
        self._actions.show(row)

    def delete(self) -> None:
        self._whole.delete()

    @staticmethod
    def _set(element: ui.element, name: str, value: str) -> None:
        if element.props.get(name) != value:
            element.props[name] = value
            element.update()
