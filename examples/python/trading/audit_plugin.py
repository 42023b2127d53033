"""A trading bot's audit trail, kept by anchord: copy this file into the bot's plugins.

    with AuditTrailPlugin({"server": "localhost:50051"}) as audit_trail:
        audit_trail.record_trade(
            {"id": "T-1", "symbol": "BTC/USDT", "side": "buy", "quantity": 0.5, "price": 50000.0}
        )

A call that returns has its record on the service's disk, and the chain follows by itself; one that does not
raises AuditError, whose request_id makes the same call safe to repeat.

Times are datetimes, with a zone or without one, which means local time as everywhere in Python; or ISO 8601
texts; or seconds since 1970. Numbers are kept as Python's float has them: what must be exact to the last digit
belongs into the details, as text. Needs the stubs: pip install ./gen/python
"""
from __future__ import annotations

import logging
import os
import random
import time
import uuid
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any, Callable, Iterator, Union

import grpc
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from anchord.v1 import audit_service_pb2 as audit
from anchord.v1 import audit_service_pb2_grpc as audit_grpc
from anchord.v1 import record_pb2 as record

log = logging.getLogger(__name__)

Time = Union[datetime, str, int, float]

CALL_SECONDS = 5
PAGE_SIZE = 1000

# A trade's or an order's side, as this plugin takes and gives it.
SIDES: dict[str, record.Side.ValueType] = {"buy": record.SIDE_BUY, "sell": record.SIDE_SELL}

# The service or the way to it is away; the same call may succeed later.
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}

# Whatever else a call ends with, it may have done its work before.
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class AuditError(Exception):
    """A call failed, and says why.

    A record_* call that failed has recorded nothing, unless its answer may have been lost (is_passing): called again with
    request_id=error.request_id, it is recorded once, whatever happened before.
    """

    def __init__(self, message: str, request_id: str = "", is_passing: bool = False) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.is_passing = is_passing


class AuditTrailPlugin:
    """Records what a trading bot does, and reads it back with its place in the chain. Safe to use from threads.

    Of the bot's configuration it reads `server` and `token`, else ANCHORD_SERVER and ANCHORD_TOKEN of the
    environment, and `patience_seconds` (10): for how long a call tries again while the service is away. All
    other keys are the service's own (docs/configuration.md). Every method may raise AuditError.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        config = config or {}
        server = config.get("server") or os.environ.get("ANCHORD_SERVER") or "localhost:50051"
        token = config.get("token") or os.environ.get("ANCHORD_TOKEN")
        self._patience = float(config.get("patience_seconds", 10))
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        # The channel would wait up to two minutes before it connects again; the pause between calls is enough.
        self._channel = grpc.insecure_channel(server, options=[("grpc.max_reconnect_backoff_ms", 1000)])
        self._stub = audit_grpc.AuditServiceStub(self._channel)
        self._hashes: dict[int, str] = {}
        self._is_shut_down = False

    def __enter__(self) -> AuditTrailPlugin:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def record_trade(self, trade: Mapping[str, Any], request_id: str | None = None) -> str:
        """Records an executed trade; returns the id of its record.

        It has id, symbol, side ("buy" or "sell"), quantity, price, and perhaps timestamp, order_type and user;
        everything else is kept as its details.
        """
        return self._record(trade_event, trade, request_id)

    def record_order(self, order: Mapping[str, Any], request_id: str | None = None) -> str:
        """Records an order that was placed or changed; returns the id of its record.

        It has id, symbol, side, quantity, and perhaps price, type, status, timestamp and user; everything else
        is kept as its details.
        """
        return self._record(order_event, order, request_id)

    def record_system_change(self, change: Mapping[str, Any], request_id: str | None = None) -> str:
        """Records a change to the system; returns the id of its record.

        It has component, change_type, and perhaps user and timestamp; everything else, such as old_value and
        new_value, is kept as its details.
        """
        return self._record(system_change_event, change, request_id)

    def force_mine(self, timeout: float = 60) -> dict[str, Any]:
        """Seals what is pending now, and waits for the chain, for so many seconds at the most.

        Returns the last block as {index, hash}, None where there is none, and how many records are pending still.
        """
        answer = self._call(self._stub.SealNow, audit.SealNowRequest(), timeout=timeout)
        index = answer.last_batch or None
        return {"index": index, "hash": self._hash_of(index), "pending": answer.pending}

    def get_audit_trail(
        self,
        record_type: str | None = None,
        start_time: Time | None = None,
        end_time: Time | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Returns records, newest first, of a type and from a time on until before another, where they are given.

        Each has id, type, subject, user, timestamp, data, state, and the block's block_index and block_hash, which
        are None until it is sealed. They are copies: changing them changes nothing that was recorded.
        """
        if limit < 1:
            raise AuditError(f"limit must be 1 or more, not {limit}")
        with said_clearly():
            wanted = audit.RecordFilter(type=record_type or "")
            if start_time is not None:
                wanted.start_time.CopyFrom(timestamp_of(start_time))
            if end_time is not None:
                wanted.end_time.CopyFrom(timestamp_of(end_time))
        return [self._plain(found) for found in islice(self._records(wanted, limit), limit)]

    def verify_chain_integrity(self) -> bool:
        """Whether everything that is stored is what the chain has; find_problems() says what is not."""
        return not self.find_problems()

    def find_problems(self) -> list[dict[str, Any]]:
        """Compares all that is stored with the chain, and names what does not hold. Takes its time on a long log."""
        problems = []
        answer = audit.VerifyLogResponse()
        self._check_open()
        try:
            for answer in self._stub.VerifyLog(audit.VerifyLogRequest(), metadata=self._metadata):
                problems += [json_format.MessageToDict(problem) for problem in answer.problems]
        except grpc.RpcError as error:
            raise audit_error(error) from error
        if not answer.done:
            raise AuditError("the verification was cut short; try again", is_passing=True)
        return problems

    def get_chain_stats(self) -> dict[str, Any]:
        """Returns totals of the chain, and whether it holds, for which all of it is verified."""
        stats = self._call(self._stub.GetStats, audit.GetStatsRequest())
        return {
            "chain_length": stats.batches + 1,  # block 0 is the head of the empty log
            "total_transactions": stats.records,
            "transaction_types": {kind.type: kind.count for kind in stats.types},
            "pending_transactions": stats.pending,
            "first_block_time": text_of(stats.first_block_time) if stats.HasField("first_block_time") else None,
            "last_block_time": text_of(stats.last_block_time) if stats.HasField("last_block_time") else None,
            "is_valid": self.verify_chain_integrity(),
        }

    def shutdown(self) -> None:
        """Closes the connection. Nothing waits here: what was recorded is the service's to seal."""
        self._is_shut_down = True
        self._channel.close()

    def _record(self, event_of: EventOf, fact: Mapping[str, Any], request_id: str | None) -> str:
        with said_clearly():
            event = event_of(Fields(fact))
            event.request_id = request_id or str(uuid.uuid4())
        record_id: str = self._call(self._stub.RecordEvent, event, event.request_id).record_id
        return record_id

    def _records(self, wanted: audit.RecordFilter, limit: int) -> Iterator[record.Record]:
        """All records that a filter lets pass, newest first, fetched as far as they are taken."""
        page = audit.ListRecordsRequest(filter=wanted, page_size=max(1, min(limit, PAGE_SIZE)))
        while True:
            answer = self._call(self._stub.ListRecords, page)
            yield from answer.records
            page.page_token = answer.next_page_token
            if not page.page_token:
                return

    def _plain(self, found: record.Record) -> dict[str, Any]:
        body = found.WhichOneof("body") or ""
        index = found.batch_number if found.HasField("batch_number") else None
        return {
            "id": found.id,
            "type": found.custom.type if body == "custom" else body,
            "subject": found.subject,
            "user": found.actor,
            "timestamp": text_of(found.occur_time),
            "data": plain_body(getattr(found, body)) if body else {},
            "state": record.RecordState.Name(found.state).replace("RECORD_STATE_", ""),
            "block_index": index,
            "block_hash": self._hash_of(index),
        }

    def _hash_of(self, index: int | None) -> str | None:
        """The hash of a block: the head after its batch, which never changes once it is on the chain."""
        if index is None:
            return None
        if index not in self._hashes:
            answer = self._call(self._stub.GetBatch, audit.GetBatchRequest(number=index))
            if not answer.batch.HasField("anchor"):
                return answer.batch.head.hex()
            self._hashes[index] = answer.batch.head.hex()
        return self._hashes[index]

    def _call(
        self, method: Callable[..., Any], request: Any, request_id: str = "", timeout: float = CALL_SECONDS
    ) -> Any:
        """Makes a call, and repeats it while the service is away, as long as patience lasts."""
        give_up = time.monotonic() + self._patience
        failures = 0
        while True:
            self._check_open(request_id, is_passing=failures > 0)
            try:
                return method(request, timeout=timeout, metadata=self._metadata)
            except grpc.RpcError as error:
                pause = random.uniform(0.05, min(2, 0.1 * 2**failures))
                if error.code() not in PASSING or time.monotonic() + pause > give_up:
                    raise audit_error(error, request_id) from error
                log.warning("anchord is out of reach, next try in %.1f s: %s", pause, error.details())
            failures = min(failures + 1, 16)
            time.sleep(pause)

    def _check_open(self, request_id: str = "", is_passing: bool = False) -> None:
        if self._is_shut_down:
            raise AuditError("the plugin was shut down", request_id, is_passing)


def audit_error(error: grpc.RpcError, request_id: str = "") -> AuditError:
    is_passing = error.code() not in REFUSALS
    return AuditError(f"{error.code().name}: {error.details()}", request_id, is_passing)


@contextmanager
def said_clearly() -> Iterator[None]:
    """Has what cannot be made into a message raise AuditError."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise AuditError(f"it cannot be recorded or looked for: {error}") from error


# ---- What a bot says, as messages --------------------------------------------------------------------


class Fields:
    """The fields of a fact, each of which is taken once; what is left are its details."""

    def __init__(self, fact: Mapping[str, Any]) -> None:
        self._left = dict(fact)

    def take(self, *names: str, default: Any = None) -> Any:
        """The value of the first of these names that is there."""
        for name in names:
            if self._left.get(name) is not None:
                return self._left.pop(name)
        if default is None:
            raise ValueError(f"{names[0]} is missing")
        return default

    def text(self, *names: str, default: str | None = None) -> str:
        value = self.take(*names, default=default)
        return str(value.value if isinstance(value, Enum) else value)

    def number(self, *names: str, default: float | None = None) -> float:
        value = self.take(*names, default=default)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{names[0]} must be a number, not {value!r}") from None

    def side(self) -> record.Side.ValueType:
        side = self.text("side").lower()
        if side not in SIDES:
            raise ValueError(f"side must be buy or sell, not {side!r}")
        return SIDES[side]

    def time(self) -> Timestamp | None:
        at = self.take("timestamp", default="")
        return None if at == "" else timestamp_of(at)

    def details(self) -> dict[str, Any]:
        """What was not taken, with what the bot itself calls details among it."""
        left = dict(self._left)
        inner = left.get("details")
        if isinstance(inner, Mapping) and not inner.keys() & left.keys():
            del left["details"]
            left.update(inner)
        return {name: plain(value, name) for name, value in left.items()}


EventOf = Callable[[Fields], audit.RecordEventRequest]


def trade_event(fields: Fields) -> audit.RecordEventRequest:
    trade = record.Trade(
        trade_id=fields.text("id", "trade_id"),
        symbol=fields.text("symbol"),
        side=fields.side(),
        quantity=fields.number("quantity"),
        price=fields.number("price"),
        order_type=fields.text("order_type", "type", default=""),
    )
    return event_with(fields, f"trade/{trade.trade_id}", trade=trade)


def order_event(fields: Fields) -> audit.RecordEventRequest:
    order = record.Order(
        order_id=fields.text("id", "order_id"),
        symbol=fields.text("symbol"),
        side=fields.side(),
        quantity=fields.number("quantity"),
        price=fields.number("price", default=0.0),
        order_type=fields.text("type", "order_type", default=""),
        status=fields.text("status", default=""),
    )
    return event_with(fields, f"order/{order.order_id}", order=order)


def system_change_event(fields: Fields) -> audit.RecordEventRequest:
    change = record.SystemChange(component=fields.text("component"), change_type=fields.text("change_type", "type"))
    return event_with(fields, f"system/{change.component}", system_change=change)


def event_with(fields: Fields, subject: str, **body: Any) -> audit.RecordEventRequest:
    """The event of a body, with what else the fields say."""
    actor, occur_time = fields.text("user", default=""), fields.time()
    details = fields.details()
    for message in body.values():
        if details:
            message.details.update(details)
    return audit.RecordEventRequest(subject=subject, actor=actor, occur_time=occur_time, **body)


def plain(value: Any, name: str) -> Any:
    """A value as JSON has it, for the details."""
    if value is None or isinstance(value, (bool, str, float)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else str(value)  # JSON's numbers are floats
    if isinstance(value, Enum):
        return plain(value.value, name)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, name) for item in value]
    raise TypeError(f"{name} is a {type(value).__name__}, which JSON has not: give a text or a number")


def timestamp_of(at: Time) -> Timestamp:
    stamp = Timestamp()
    if isinstance(at, str):
        try:
            stamp.FromJsonString(at)  # takes as many digits as there are, and needs a zone
            return stamp
        except ValueError:
            at = datetime.fromisoformat(at)
    if not isinstance(at, datetime):
        at = datetime.fromtimestamp(at, timezone.utc)
    stamp.FromDatetime(at.astimezone(timezone.utc).replace(tzinfo=None))
    return stamp


# ---- What anchord says, as plain values --------------------------------------------------------------


def text_of(stamp: Timestamp) -> str:
    return str(stamp.ToJsonString())


def plain_body(body: Any) -> dict[str, Any]:
    """A body as a dict of its own, with the fields that are 0 or empty."""
    shown: dict[str, Any] = json_format.MessageToDict(body, preserving_proto_field_name=True)
    for field in body.DESCRIPTOR.fields:
        if field.cpp_type not in (field.CPPTYPE_MESSAGE, field.CPPTYPE_ENUM):
            shown.setdefault(field.name, field.default_value)
    if "side" in shown:
        shown["side"] = shown["side"].replace("SIDE_", "").lower()
    return shown
