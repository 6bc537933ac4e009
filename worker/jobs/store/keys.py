"""Names of all Redis keys. The tables in `worker.jobs.store.store` and
`worker.jobs.store.inference` describe their content."""

from hashlib import sha1

PREFIX = "flant5:"
MAX_ENTRIES = 10_000
"""Approximate number of entries kept per stream; the run directory on disk holds everything."""

JOBS = f"{PREFIX}jobs"
VALIDATING = f"{PREFIX}validating"
QUEUED = f"{PREFIX}queued"
PENDING_NOTIFICATIONS = f"{PREFIX}bells"
WAITING_SINCE = f"{PREFIX}waiting_since"
RUNNING = f"{PREFIX}running"
PAUSED = f"{PREFIX}paused"
WORKERS = f"{PREFIX}workers"
MODELS = f"{PREFIX}models"
NAMES = f"{PREFIX}names"
MARK = f"{PREFIX}mark"
RECOVERY = f"{PREFIX}recovery"
FORGOTTEN = f"{PREFIX}forgotten"
COUNTS = f"{PREFIX}counts"
CHATS = f"{PREFIX}chats"
CHAT_SERVERS = f"{PREFIX}chat_servers"
CONVERSATIONS = f"{PREFIX}talks"
WEBHOOKS = f"{PREFIX}webhooks"
INTEGRATIONS = f"{PREFIX}integrations"
SHIPMENTS = f"{PREFIX}shipments"
SERVICE = f"{PREFIX}service"
PULSE = f"{PREFIX}pulse"
QUEUE = "doorbells"
"""Celery's name of the queue; Celery adds the prefix to all of its keys."""
NOTIFICATIONS = f"{PREFIX}{QUEUE}"


def job(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}"


def events(job_id: str) -> str:
    return f"{job(job_id)}:events"


def logs(job_id: str) -> str:
    return f"{job(job_id)}:logs"


def checkpoints(job_id: str) -> str:
    return f"{job(job_id)}:checkpoints"


def members(job_id: str) -> str:
    return f"{job(job_id)}:members"


def worker(name: str) -> str:
    return f"{PREFIX}worker:{name}"


def controller(name: str) -> str:
    return f"{PREFIX}keeper:{name}"


def jobs_tagged(name: str, value: str) -> str:
    """Returns the key of the jobs with this metadata pair. The key is a digest, because both texts
    come from a caller."""
    framed = f"{len(name.encode())}:{name}{value}"
    digest = sha1(framed.encode(), usedforsecurity=False).hexdigest()  # Lua's only digest
    return f"{PREFIX}metadata:{digest}"


def conversation(owner: str, talk_id: str) -> str:
    return f"{PREFIX}talk:{owner}:{talk_id}"


def chat_device(server: str) -> str:
    return f"{PREFIX}chat_server:{server}:device"


def webhook_sender(name: str) -> str:
    return f"{PREFIX}webhook_sender:{name}"


def due_webhooks(endpoint: str) -> str:
    return f"{PREFIX}webhook:{endpoint}:due"


def integrations_process(name: str) -> str:
    return f"{PREFIX}shipper:{name}"


def waiting_of(owner: str) -> str:
    return f"{PREFIX}owner:{owner}:waiting"


def running_of(owner: str) -> str:
    return f"{PREFIX}owner:{owner}:running"


def jobs_of(owner: str) -> str:
    return f"{PREFIX}owner:{owner}:jobs"


def submission(key: str) -> str:
    return f"{PREFIX}submission:{key}"


def first_try(fingerprint: str) -> str:
    return f"{PREFIX}try:{fingerprint}"


def chat(chat_id: str) -> str:
    return f"{PREFIX}chat:{chat_id}"


def answer(chat_id: str) -> str:
    return f"{chat(chat_id)}:answer"
