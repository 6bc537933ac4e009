"""Prometheus endpoint."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.dependencies import Wired

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def scrape(services: Wired) -> Response:
    """Returns the current metrics. Returns 200 even if Redis is unavailable."""
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
