"""Webhook requests: the event in the SDK's format, signed according to Standard Webhooks.

webhook-id: evt_...            the same on each try
webhook-timestamp: 1767225600  when this try was made
webhook-signature: v1,<base64 of HMAC-SHA256 of "id.timestamp.body">
"""

import base64
import hmac
import json
from dataclasses import dataclass

from worker.jobs.store.outbox import Delivery


@dataclass(frozen=True, slots=True)
class Message:
    """One request to an endpoint."""

    headers: dict[str, str]
    body: bytes


def write_message(delivery: Delivery, *, key: bytes, at: float) -> Message:
    """Returns the request, signed with `key`. `at` is the time of this try in Unix seconds."""
    body = json.dumps(
        {
            "id": delivery.event_id,
            "object": "event",
            "created_at": delivery.end.created_at,
            "type": f"fine_tuning.job.{delivery.end.status}",
            "data": {"id": delivery.end.job_id},
        }
    ).encode()
    timestamp = str(int(at))
    signed = b".".join((delivery.event_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    headers = {
        "content-type": "application/json",
        "user-agent": "flant5",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }
    return Message(headers, body)
