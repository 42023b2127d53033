"""Hands critical threats to anchord behind the back of a detection backend: copy this file into yours.

Detection comes first. threat_detected() returns at once and never raises, whatever has become of anchord,
of its chain or of the network: the threat waits in memory, and a task sends what waits, in order, until
anchord has it. Each threat has a request_id of its own from the start, so that sending it again after an
answer that was lost makes no second record.

What memory cannot promise: a backend that is killed loses what waits. What finds the queue full, or is left
when the backend ends, is logged as an error, whole and as JSON, so that it can be handed in by hand:

    grpcurl -plaintext -d 'THE JSON' localhost:50051 anchord.v1.AuditService/RecordEvent
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections import deque
from datetime import datetime

import grpc
from google.protobuf import json_format

from anchord.v1 import audit_service_pb2 as audit
from anchord.v1 import audit_service_pb2_grpc as audit_grpc
from anchord.v1 import record_pb2 as record

log = logging.getLogger(__name__)

# Tier 3: from this score on, of 100.
CRITICAL_SCORE = 80.0

LONGEST_USER_ID = 250

CALL_SECONDS = 5
LONGEST_PAUSE_SECONDS = 5

# What anchord will never take, however often it is sent. Anything else may pass.
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
}


class ThreatAudit:
    """Records critical threats in the background.

    Make it where an event loop runs, and close() it when the backend ends. The token is one of the server's
    API_TOKENS, where it asks for one; capacity is how many threats may wait.
    """

    def __init__(self, server: str, token: str = "", capacity: int = 10_000) -> None:
        self.recorded = 0
        self.refused = 0
        self.dropped = 0
        #: Why the last attempt failed; None where it did not.
        self.last_error: str | None = None
        self._capacity = capacity
        self._waiting: deque[audit.RecordEventRequest] = deque()
        self._closed = False
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        # The channel would wait up to two minutes before it connects again; the pause below is enough.
        self._channel = grpc.aio.insecure_channel(server, options=[("grpc.max_reconnect_backoff_ms", 1000)])
        self._stub = audit_grpc.AuditServiceStub(self._channel)
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._sending = self._loop.create_task(self._send_for_ever())

    def threat_detected(self, user_id: str, score: float, duration_minutes: float, at: datetime) -> bool:
        """Queues a threat if it is critical, and says whether it did. Never waits, never raises; for any thread.

        The score is of 100; a time without a zone is taken for UTC.
        """
        try:
            if not score >= CRITICAL_SCORE:
                return False
            event = threat_event(user_id, score, duration_minutes, at)
        except Exception as error:  # whatever a detector hands over, detection goes on
            self.refused += 1
            log.error("a threat of user %.300r, score %.300r, cannot be recorded: %s", user_id, score, error)
            return False
        if self._closed or len(self._waiting) >= self._capacity:
            self._drop(event, "the backend is ending" if self._closed else "too many wait")
            return False
        self._waiting.append(event)
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:  # the loop has ended, and close() with it
            with contextlib.suppress(ValueError):
                self._waiting.remove(event)
                self._drop(event, "the backend has ended")
            return False
        return True

    def status(self) -> dict[str, object]:
        """What waits, and what has become of the critical threats since the start."""
        return {
            "waiting": len(self._waiting),
            "recorded": self.recorded,
            "refused": self.refused,
            "dropped": self.dropped,
            "last_error": self.last_error,
        }

    async def close(self, grace_seconds: float = 10) -> None:
        """Goes on sending what waits for so long at the most, and logs what is left."""
        self._closed = True
        self._arrived.set()
        await asyncio.wait([self._sending], timeout=grace_seconds)
        self._sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sending
        await self._channel.close()
        while self._waiting:
            self._drop(self._waiting.popleft(), "the backend has ended")

    async def _send_for_ever(self) -> None:
        """Sends what waits, the first first, and ends once closed with nothing left."""
        while self._waiting or not self._closed:
            if self._waiting:
                await self._send_patiently(self._waiting[0])
                self._waiting.popleft()  # not before: what is cut short is still there
            else:
                self._arrived.clear()
                await self._arrived.wait()

    async def _send_patiently(self, event: audit.RecordEventRequest) -> None:
        """Sends one until anchord has it, or refuses it for good."""
        failures = 0
        while True:
            try:
                await self._stub.RecordEvent(event, timeout=CALL_SECONDS, metadata=self._metadata)
                self.recorded += 1
                self.last_error = None
                return
            except grpc.aio.AioRpcError as error:
                self.last_error = f"{error.code().name}: {error.details()}"
                if error.code() in REFUSALS:
                    self.refused += 1
                    log.error("anchord refuses a threat: %s: %s", self.last_error, as_json(event))
                    return
            except Exception as error:  # whatever it is, the task must not end by it
                self.last_error = repr(error)
            # Longer each time, and at random, so that many backends do not come back all at once.
            pause = random.uniform(0.1, min(LONGEST_PAUSE_SECONDS, 0.2 * 2**failures))
            failures = min(failures + 1, 16)
            waiting = len(self._waiting)
            log.warning("%d threats wait for anchord, next try in %.1f s: %s", waiting, pause, self.last_error)
            await asyncio.sleep(pause)

    def _drop(self, event: audit.RecordEventRequest, why: str) -> None:
        self.dropped += 1
        log.error("a critical threat is not recorded, since %s; hand it in by hand: %s", why, as_json(event))


def threat_event(user_id: str, score: float, duration_minutes: float, at: datetime) -> audit.RecordEventRequest:
    """The event as anchord takes it. Raises ValueError or TypeError where it cannot be one."""
    if len(user_id) > LONGEST_USER_ID:
        raise ValueError(f"the user id has more than {LONGEST_USER_ID} characters")
    event = audit.RecordEventRequest(
        subject=f"user/{user_id}",
        actor="threat-detector",
        request_id=str(uuid.uuid4()),
        threat=record.Threat(score=score, duration_minutes=duration_minutes, scale=record.THREAT_SCALE_HUNDRED),
    )
    event.occur_time.FromDatetime(at)
    return event


def as_json(event: audit.RecordEventRequest) -> str:
    return str(json_format.MessageToJson(event, indent=None))
