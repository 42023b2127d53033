"""A FastAPI backend that detects threats and has anchord record the critical ones.

Needs the stubs, and fastapi with an ASGI server. Run it in this folder with: uvicorn app:app --port 8000

ANCHORD_SERVER is the address of anchord's gRPC door, ANCHORD_TOKEN one of its API_TOKENS.
"""
from __future__ import annotations

import os
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any, AsyncIterator

from audit import ThreatAudit
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field


class Observation(BaseModel):
    """What a detector has seen of a user: a score of 0 to 100, and for how long."""

    user_id: str = Field(min_length=1, max_length=200)
    threat_score: float = Field(ge=0, le=100)
    duration_minutes: float = Field(ge=0, le=1_000_000)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.audit = ThreatAudit(
        os.environ.get("ANCHORD_SERVER", "localhost:50051"), os.environ.get("ANCHORD_TOKEN", "")
    )
    yield
    await app.state.audit.close()


app = FastAPI(title="Threat detection")
app.router.lifespan_context = lifespan  # FastAPI(lifespan=…) is not known to FastAPI before 0.93


@app.post("/detect")
async def detect(observation: Observation, request: Request) -> dict[str, Any]:
    """Detects. The audit handler comes after the verdict, and has no say in it."""
    tier = tier_of(observation.threat_score)
    queued = request.app.state.audit.threat_detected(
        observation.user_id,
        observation.threat_score,
        observation.duration_minutes,
        at=datetime.now(timezone.utc),
    )
    return {"user_id": observation.user_id, "tier": tier, "audit_queued": queued}


@app.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Detection is well while this answers. Watch audit.waiting: it only grows while anchord is away."""
    return {"status": "healthy", "audit": request.app.state.audit.status()}


def tier_of(score: float) -> int:
    """3 critical, 2 high, 1 medium, 0 low."""
    return sum(score >= least for least in (40, 60, 80))
