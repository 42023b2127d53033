"""The outbox: what is to be recorded is written with what it tells of, and sent once that is committed.

No caller waits for anchord, and nothing is lost while it is away: a row that was not sent waits for the next
commit, for `manage.py drain_outbox`, or for a job that calls drain().
"""
from __future__ import annotations

import hashlib
import logging
import mimetypes
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, TypeVar

import grpc
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import connections, transaction
from django.db.models.fields.files import FieldFile
from django.utils.module_loading import import_string

from anchord.v1 import audit_service_pb2 as audit
from anchord.v1 import evidence_service_pb2 as evidence
from anchord.v1 import record_pb2 as record

from .client import Client, connect
from .models import OutboxEntry, OutboxState

if TYPE_CHECKING:
    from .models import AuditedComplaint

log = logging.getLogger(__name__)

_T = TypeVar("_T")

CALL_SECONDS = 5
UPLOAD_SECONDS = 600
CHUNK_BYTES = 256 * 1024

# What anchord will never take as it is, however often it is sent. Anything else may pass.
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
}


# ---- In ----------------------------------------------------------------------------------------------


def add_changes(complaint: AuditedComplaint, is_new: bool) -> None:
    """Adds an event for each thing in which a saved complaint differs from what was recorded of it last.

    Requires the transaction of the save, after it: its lock on the complaint's row has two saves at once
    compared one after the other.
    """
    # What the database has counts, not the object: save(update_fields=…) and F() leave the two different.
    row = type(complaint)._base_manager.filter(pk=complaint.pk)
    status, assignee = row.values_list(complaint.status_field, complaint.assignee_field).get()
    status, assignee = str(status or ""), str(assignee or "")
    events = OutboxEntry.objects.filter(subject=complaint.subject).exclude(event_type="")
    last = None if is_new else events.order_by("-id").first()

    happened = ["CREATED"] if is_new else []
    if assignee != (last.assignee if last else ""):
        happened.append("ASSIGNED" if assignee else "UNASSIGNED")
    if not is_new and status != (last.status if last else ""):
        happened.append("RESOLVED" if status == complaint.resolved_status else "STATUS_UPDATED")
    for event_type in happened:
        OutboxEntry.objects.create(
            subject=complaint.subject,
            actor=complaint.changed_by,
            event_type=event_type,
            status=status,
            assignee=assignee,
        )
    if happened:
        transaction.on_commit(after_commit)


@dataclass(frozen=True)
class Upload:
    """What a file is, as it was handed in."""

    name: str
    media_type: str
    sha256: str
    size: int


def examine(file: File) -> Upload:
    """Says what an upload is, before any storage has had it. It is read chunk by chunk."""
    digest = hashlib.sha256()
    size = 0
    for chunk in file.chunks():
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    name = os.path.basename(file.name)
    return Upload(name, mimetypes.guess_type(name)[0] or "", digest.hexdigest(), size)


def add_evidence(subject: str, stored: FieldFile, upload: Upload, actor: str = "") -> None:
    """Adds a file that was handed in for a subject and is in the default storage now.

    Requires a transaction. What the storage gives back later must be what was handed in, or is refused.
    """
    OutboxEntry.objects.create(
        subject=subject,
        actor=actor,
        file_path=stored.name,
        file_name=upload.name,
        media_type=upload.media_type,
        sha256=upload.sha256,
        size=upload.size,
    )
    transaction.on_commit(after_commit)


def after_commit() -> None:
    """Calls ANCHORD_AFTER_COMMIT. What fails here must not reach a caller whose data is committed already."""
    try:
        import_string(settings.ANCHORD_AFTER_COMMIT)()
    except Exception:
        log.exception("the outbox was not drained after a commit; its entries wait")


# ---- Out ---------------------------------------------------------------------------------------------

_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="anchord-outbox")
_is_due = threading.Event()


def drain_soon() -> None:
    """Has a thread of this process drain the outbox, and returns at once. Many calls make one more drain."""
    if not _is_due.is_set():
        _is_due.set()
        _executor.submit(_drain_in_thread)


def _drain_in_thread() -> None:
    _is_due.clear()  # before it looks: what is committed from here on calls for another drain
    try:
        drain()
    except Exception:
        log.exception("the outbox was not drained; its entries wait")
    finally:
        connections.close_all()


def drain() -> int:
    """Sends what waits, the first first, until anchord is out of reach; says how many it has taken.

    May run in many places at once: each sends in order, and what is sent twice is recorded once.
    """
    taken = 0
    with connect() as client:
        while entry := OutboxEntry.objects.filter(state=OutboxState.WAITING).order_by("id").first():
            state = send(client, entry)
            if state == OutboxState.WAITING:
                break
            taken += state == OutboxState.RECORDED
    return taken


def send(client: Client, entry: OutboxEntry) -> OutboxState:
    """Sends an entry, and notes what became of it: WAITING where it is worth another attempt later."""
    record_id = error = ""
    try:
        record_id = send_file(client, entry) if entry.file_path else send_event(client, entry)
        state = OutboxState.RECORDED
    except grpc.RpcError as failure:
        state = OutboxState.REFUSED if failure.code() in REFUSALS else OutboxState.WAITING
        error = f"{failure.code().name}: {failure.details()}"
    except (FileNotFoundError, ValueError) as failure:
        state, error = OutboxState.REFUSED, f"it cannot be sent: {failure}"
    except OSError as failure:  # the storage is away, which passes
        state, error = OutboxState.WAITING, f"it cannot be read: {failure}"

    rows = OutboxEntry.objects.filter(pk=entry.pk)
    if state != OutboxState.RECORDED:
        rows = rows.filter(attempts=entry.attempts)  # what somebody else has found out meanwhile is newer
    rows.update(attempts=entry.attempts + 1, record_id=record_id, state=state, last_error=error)
    if state == OutboxState.REFUSED:
        log.error("anchord does not take outbox entry %s, of %s: %s", entry.pk, entry.subject, error)
    elif state == OutboxState.WAITING:
        log.warning("the outbox waits from entry %s on: %s", entry.pk, error)
    return state


def send_event(client: Client, entry: OutboxEntry) -> str:
    """Records an event; returns the id of its record."""
    event = audit.RecordEventRequest(
        subject=entry.subject,
        actor=entry.actor,
        request_id=entry.request_id,
        complaint=record.Complaint(
            event_type=entry.event_type, status=entry.status, assignee=entry.assignee
        ),
    )
    event.occur_time.FromDatetime(entry.occur_time)
    return client.audit.RecordEvent(event, timeout=CALL_SECONDS, metadata=client.metadata).record_id


def send_file(client: Client, entry: OutboxEntry) -> str:
    """Hands a file in, chunk by chunk from the storage; returns the id of its record."""
    unread: list[Exception] = []
    with default_storage.open(entry.file_path) as file:
        parts = noting(unread, upload_parts(entry, file))
        try:
            answer = client.evidence.UploadEvidence(parts, timeout=UPLOAD_SECONDS, metadata=client.metadata)
        except grpc.RpcError:
            if unread:  # gRPC says only that reading failed, and not how
                raise unread[0]
            raise
    return answer.evidence.id


def noting(failures: list[Exception], parts: Iterator[_T]) -> Iterator[_T]:
    """The same, noting what ends it early."""
    try:
        yield from parts
    except Exception as failure:
        failures.append(failure)
        raise


def upload_parts(entry: OutboxEntry, file: File) -> Iterator[evidence.UploadEvidenceRequest]:
    """What a file is, then its bytes."""
    metadata = evidence.UploadEvidenceMetadata(
        subject=entry.subject,
        actor=entry.actor,
        request_id=entry.request_id,
        file_name=entry.file_name,
        media_type=entry.media_type,
        sha256=entry.sha256,
        size=entry.size,
    )
    metadata.occur_time.FromDatetime(entry.occur_time)
    yield evidence.UploadEvidenceRequest(metadata=metadata)
    for chunk in file.chunks(CHUNK_BYTES):
        yield evidence.UploadEvidenceRequest(chunk=chunk)
