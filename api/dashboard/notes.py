"""What is done on a page stands in the audit log beside what is done by calls."""

from datetime import UTC, datetime

from api.audit import AuditLog
from api.caller import Caller
from api.services import Services


def note(action: str, thing: str, *, caller: Caller, services: Services) -> None:
    """Adds a line; `action` is the call that does the same."""
    at = datetime.now(UTC)
    AuditLog(services.home.audit).append(
        {
            "at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z",
            "request_id": "dashboard",
            "owner": caller.owner,
            "address": "",
            "action": action,
            "object": thing,
            "status": 200,
        }
    )
