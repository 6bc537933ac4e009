"""Building blocks of all pages: sessions, layout, dialogs and number formats.

`auth.SessionUser` is the user of a page, `layout.page_layout` draws the layout around a page, and
`layout.Poller` polls for changes.

May import `api.auth`, `api.dependencies`, `api.http.audit`, `api.services` and `worker.jobs`. It
imports no page.
"""
