"""Files page at `/files`, and the widgets that choose a file and show its report.

`page.files_page` lists the uploaded files. `widgets.FileChoice` and `widgets.ReportCard` are also
used by the page for new jobs.

May import `api.dashboard.ui`, the services and schemas of the API, and `worker.jobs`.
"""
