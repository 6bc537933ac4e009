"""`python -m api.health`: container health check, which queries the API's `/readyz`."""

import json
import sys
import urllib.error
import urllib.request

from pydantic import ValidationError

from api.settings import ApiSettings
from worker.jobs.settings import settings_fault

TIMEOUT_SECONDS = 10.0


def api_trouble(port: int) -> str | None:
    """Returns the reason why the server on this local port accepts no jobs, or None."""
    # Ignores proxy settings: the request stays inside the container.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return _message(error.read()) or f"/readyz returned {error.code}"
    except OSError as error:
        return f"no response on port {port}: {error}"


def _message(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return None


def main() -> int:
    try:
        trouble = api_trouble(ApiSettings().port)
    except ValidationError as error:
        trouble = f"invalid API settings: {settings_fault(error)}"
    if trouble is not None:
        sys.stderr.write(f"{trouble}\n")
    return 0 if trouble is None else 1


if __name__ == "__main__":
    sys.exit(main())
