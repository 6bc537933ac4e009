"""For Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.services import Wired

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def scrape(services: Wired) -> Response:
    """The figures of this moment; 200 also while Redis is away."""
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
