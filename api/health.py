"""`python -m api.health`: whether the API of this container can take jobs (its `/readyz`)."""

import json
import sys
import urllib.error
import urllib.request

from pydantic import ValidationError

from api.settings import ApiSettings
from worker.jobs.settings import settings_fault

TIMEOUT_SECONDS = 10.0


def api_trouble(port: int) -> str | None:
    """Why the server on this port of this machine takes no jobs; None when it does."""
    # No proxy stands between a container and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return _message(error.read()) or f"/readyz answers {error.code}"
    except OSError as error:
        return f"no answer on port {port}: {error}"


def _message(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return None


def main() -> int:
    try:
        trouble = api_trouble(ApiSettings().port)
    except ValidationError as error:
        trouble = f"the API's settings are wrong: {settings_fault(error)}"
    if trouble is not None:
        sys.stderr.write(f"{trouble}\n")
    return 0 if trouble is None else 1


if __name__ == "__main__":
    sys.exit(main())
