"""Building blocks of all pages: sessions, layout, dialogs and number formats.

`auth.Visitor` is the user of a page, `layout.frame` draws the layout around a page, and
`layout.Fresh` polls for changes.

May import `api.auth`, `api.dependencies`, `api.http.audit`, `api.services` and `worker.jobs`. It
imports no page.
"""
