"""What the chain has of complaints, brought into this database."""
from __future__ import annotations

from datetime import timezone
from itertools import islice
from typing import Iterator

from django.db import transaction

from anchord.v1 import audit_service_pb2 as audit
from anchord.v1 import event_pb2 as events
from anchord.v1 import event_service_pb2 as event_service
from anchord.v1 import record_pb2 as record

from .client import Client
from .models import RecordedTransaction

SUBJECTS = "complaint/"
SUBSCRIPTION = "anchord_complaints"
CALL_SECONDS = 30


def follow(client: Client) -> Iterator[int]:
    """Brings in what the feed tells, from where the last follower stopped; yields how many records, each time.

    Goes on until the call ends, which raises grpc.RpcError. An event that comes again changes nothing.
    """
    request = event_service.SubscribeEventsRequest(
        subscription=SUBSCRIPTION,
        start=event_service.START_POINT_START,  # where the subscription is made; later it goes on at its position
        filter=event_service.EventFilter(
            kinds=[
                events.EVENT_KIND_RECORD_ANCHORED,
                events.EVENT_KIND_RECORD_FINAL,
                events.EVENT_KIND_RECORD_RETRACTED,
            ]
        ),
    )
    for answer in client.events.SubscribeEvents(request, metadata=client.metadata):
        if not answer.events:
            continue
        count = bring_in([event.record for event in answer.events])
        acknowledgement = event_service.AcknowledgeEventsRequest(subscription=SUBSCRIPTION, cursor=answer.cursor)
        client.events.AcknowledgeEvents(acknowledgement, timeout=CALL_SECONDS, metadata=client.metadata)
        yield count


def read_again(client: Client, from_block: int, to_block: int) -> tuple[audit.SyncBlocksResponse, int]:
    """Has anchord read a range of blocks again, and brings in their records; 0 for the last block.

    Returns what anchord found, and how many records there were. Raises grpc.RpcError.
    """
    found = audit.SyncBlocksResponse()
    request = audit.SyncBlocksRequest(from_block=from_block, to_block=to_block)
    for found in client.audit.SyncBlocks(request, metadata=client.metadata):
        pass
    records = records_of(client, from_block, to_block)
    count = 0
    while some := list(islice(records, 500)):
        count += bring_in(some)
    return found, count


def records_of(client: Client, from_block: int, to_block: int) -> Iterator[record.Record]:
    """The records that were sealed in a range of blocks, the newest first."""
    page = audit.ListRecordsRequest(page_size=1000)
    while True:
        answer = client.audit.ListRecords(page, timeout=CALL_SECONDS, metadata=client.metadata)
        for found in answer.records:
            if not found.HasField("anchor"):
                continue
            if found.anchor.block_number < from_block:
                return  # records are sealed in their order: all others are in earlier blocks
            if not to_block or found.anchor.block_number <= to_block:
                yield found
        page.page_token = answer.next_page_token
        if not page.page_token:
            return


def bring_in(records: list[record.Record]) -> int:
    """Writes those that are of complaints, all or none; returns how many there were."""
    ours = [found for found in records if found.subject.startswith(SUBJECTS)]
    with transaction.atomic():
        for found in ours:
            RecordedTransaction.objects.update_or_create(record_id=found.id, defaults=columns_of(found))
    return len(ours)


# As the complaint calls of the service name what is no event of a complaint itself.
EVENT_NAMES = {"level_raised": "ESCALATED"}


def columns_of(found: record.Record) -> dict[str, object]:
    body = found.WhichOneof("body")
    is_anchored = found.HasField("anchor")
    return {
        "sequence": found.sequence,
        "subject": found.subject,
        "event_type": found.complaint.event_type if body == "complaint" else EVENT_NAMES.get(body, body.upper()),
        "level": found.level_raised.level if body == "level_raised" else None,
        "state": record.RecordState.Name(found.state).replace("RECORD_STATE_", ""),
        "occur_time": found.occur_time.ToDatetime().replace(tzinfo=timezone.utc),
        "transaction_hash": found.anchor.transaction_hash,
        "block_number": found.anchor.block_number if is_anchored else None,
        "block_time": found.anchor.block_time.ToDatetime().replace(tzinfo=timezone.utc) if is_anchored else None,
    }
