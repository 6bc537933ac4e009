"""Dashboard at `/`: web pages on the same services as the routes under `/v1`.

`mount.LazyDashboard` authenticates browsers and imports the pages on first use. `app.dashboard_app`
assembles the pages, and each page has its own package.

May import `api.services`, `api.schemas`, `api.http`, `api.auth` and `api.dependencies`, the
contract in `worker.jobs`, and `flant5_train.protocol` or `flant5_train.config`. Only `api.app`
imports it.
"""
