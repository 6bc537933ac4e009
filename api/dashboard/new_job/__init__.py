"""New job page at `/new`: data, settings, plan and start.

`page.new_job_page` builds the page, `fields.fields_of` derives the form from the model of a create
request, and `plan.PlanPanel` estimates the job.

May import `api.dashboard.ui` and `api.dashboard.data_files`, the services and schemas of the API,
and `worker.jobs`.
"""
