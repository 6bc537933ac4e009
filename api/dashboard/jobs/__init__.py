"""Job pages: the list at `/`, one job at `/jobs/{id}`, and the comparison at `/compare`.

`list_page.jobs_page` and `job_page.job_page` build the pages, and `rows.SharedPageCache` caches
what they show. The other modules are the panels of the job page.

May import `api.dashboard.ui` and `api.dashboard.new_job.integrations`, the services and schemas of
the API, and `worker.jobs`.
"""
