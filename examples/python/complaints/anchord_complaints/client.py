"""A connection to anchord, as the settings name it."""
from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator

import grpc
from django.conf import settings

from anchord.v1 import audit_service_pb2_grpc as audit_grpc
from anchord.v1 import event_service_pb2_grpc as event_grpc
from anchord.v1 import evidence_service_pb2_grpc as evidence_grpc
from anchord.v1 import sla_service_pb2_grpc as sla_grpc

OPTIONS = [
    # A connection on which nothing is heard for so long is tried out: a dead one looks like an idle one.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.max_pings_without_data", 0),
    # It would wait up to two minutes before it connects again.
    ("grpc.max_reconnect_backoff_ms", 1000),
]


@dataclass(frozen=True)
class Client:
    """The services, and the metadata that each call to them takes."""

    audit: audit_grpc.AuditServiceStub
    evidence: evidence_grpc.EvidenceServiceStub
    events: event_grpc.EventServiceStub
    sla: sla_grpc.SLAServiceStub
    metadata: list[tuple[str, str]]


@contextmanager
def connect() -> Iterator[Client]:
    """Connects for as long as it is needed: a channel that is kept would not outlive the fork of a worker."""
    token = settings.ANCHORD_TOKEN
    with grpc.insecure_channel(settings.ANCHORD_SERVER, options=OPTIONS) as channel:
        yield Client(
            audit=audit_grpc.AuditServiceStub(channel),
            evidence=evidence_grpc.EvidenceServiceStub(channel),
            events=event_grpc.EventServiceStub(channel),
            sla=sla_grpc.SLAServiceStub(channel),
            metadata=[("authorization", f"Bearer {token}")] if token else [],
        )
