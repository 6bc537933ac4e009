"""Records dashboard actions in the audit log."""

from datetime import UTC, datetime

from api.caller import Caller
from api.dependencies import Services
from api.http.audit import AuditLog


def note(action: str, thing: str, *, caller: Caller, services: Services) -> None:
    """Appends an audit event. `action` is the equivalent API call."""
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
