"""The command `flant5`."""

import typer

from api.cli.commands import chat, data, delete, jobs, keys, outputs, recover, watch
from api.cli.doctor import command
from api.cli.stack import up
from api.cli.views.jobs import list_jobs

app = typer.Typer(
    name="flant5",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fine-tune Flan-T5 on conversations. FLANT5_URL is the server's address "
    "(default: http://127.0.0.1:8000/v1); FLANT5_API_KEY is your API key.",
)
app.command("up")(up.up)
app.command("submit")(jobs.submit)
app.command("jobs")(list_jobs)
app.command("job")(jobs.show_job)
app.command("watch")(watch.watch)
app.command("logs")(outputs.logs)
app.command("cancel")(jobs.cancel)
app.command("pause")(jobs.pause)
app.command("resume")(jobs.resume)
app.command("delete")(delete.delete)
app.command("chat")(chat.chat)
app.command("models")(outputs.models)
app.command("download")(outputs.download)
app.command("recover")(recover.recover)
app.command("adopt")(recover.adopt)
app.command("doctor")(command.doctor)
app.add_typer(data.app, name="data")
app.add_typer(keys.app, name="keys")
