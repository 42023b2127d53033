#!/usr/bin/env python3
"""A consumer of anchord's events that misses none and applies each once: copy it, and write your own apply().

It consumes a named subscription, whose position the server keeps. The server delivers an event at least
once; here the keys of the events that were applied are kept in the same SQLite transaction as what
applying them did, so that one which comes again changes nothing. Only then is it acknowledged. Nothing is
lost and nothing happens twice, wherever this program, the connection or the server dies.

Needs the stubs: pip install ./gen/python. Run it with: python3 consumer.py --server localhost:50051
"""
import argparse
import asyncio
import random
import signal
import sqlite3
import sys

import grpc

from anchord.v1 import event_pb2 as events
from anchord.v1 import event_service_pb2 as service
from anchord.v1 import event_service_pb2_grpc as service_grpc

SCHEMA = """
    create table if not exists applied (key text primary key) without rowid;
    create table if not exists history (n integer primary key, kind text, finality text, sequence int, batch int);
    create table if not exists totals (kind text primary key, count int);
"""

# When nothing happens, the server says so this often; a connection that is silent for longer is dead.
PROGRESS_SECONDS = 10
SILENCE_SECONDS = 3 * PROGRESS_SECONDS
CALL_SECONDS = 10

LONGEST_PAUSE_SECONDS = 30

# What passes by itself; anything else needs a person.
PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def apply(database, event):
    """What an event does here. Touch nothing but the database: it is what makes each event count once."""
    kind = events.EventKind.Name(event.kind).removeprefix("EVENT_KIND_")
    finality = events.Finality.Name(event.finality).removeprefix("FINALITY_")
    payload = event.WhichOneof("payload")
    sequence = event.record.sequence if payload == "record" else None
    batch = {
        "record": event.record.batch_number,
        "batch": event.batch.sealed.number,
        "operation_failure": event.operation_failure.batch_number,
        "problem": event.problem.batch_number,
    }.get(payload)
    database.execute(
        "insert into history (kind, finality, sequence, batch) values (?, ?, ?, ?)",
        (kind, finality, sequence, batch),
    )
    database.execute(
        "insert into totals values (?, 1) on conflict (kind) do update set count = count + 1", (kind,)
    )


def apply_once(database, answer):
    """Applies the events of an answer that were not applied before, all of them or none."""
    with database:  # one transaction
        for event in answer.events:
            inserted = database.execute("insert or ignore into applied values (?)", (event.key,))
            if inserted.rowcount == 1:
                apply(database, event)


async def consume(stub, metadata, database, subscription, on_answer):
    """Consumes the subscription until the call ends, which it does only by an error."""
    request = service.SubscribeEventsRequest(
        subscription=subscription,
        start=service.START_POINT_START,  # where the subscription is made; later it goes on at its position
        progress_interval={"seconds": PROGRESS_SECONDS},
        # filter=service.EventFilter(minimum_finality=events.FINALITY_FINAL) would leave out what may be retracted
    )
    stream = stub.SubscribeEvents(request, metadata=metadata)
    try:
        while True:
            answer = await asyncio.wait_for(stream.read(), SILENCE_SECONDS)
            if answer is grpc.aio.EOF:
                return
            on_answer()
            apply_once(database, answer)
            if answer.events:
                acknowledgement = service.AcknowledgeEventsRequest(subscription=subscription, cursor=answer.cursor)
                await stub.AcknowledgeEvents(acknowledgement, metadata=metadata, timeout=CALL_SECONDS)
    finally:
        stream.cancel()


async def consume_for_ever(stub, metadata, database, subscription):
    """Consumes across restarts of the server; raises what does not pass by itself."""
    failures = 0

    def on_answer():
        nonlocal failures
        failures = 0

    while True:
        try:
            await consume(stub, metadata, database, subscription, on_answer)
            reason = "the stream ended"
        except asyncio.TimeoutError:
            reason = f"nothing was heard for {SILENCE_SECONDS} s"
        except grpc.aio.AioRpcError as error:
            if error.code() not in PASSING:
                raise
            reason = error.details()
        # Longer each time, and at random, so that many consumers do not come back all at once.
        pause = random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.2 * 2**failures))
        failures = min(failures + 1, 16)
        print(f"{reason}: trying again in {pause:.1f} s", file=sys.stderr)
        await asyncio.sleep(pause)


async def main():
    parser = argparse.ArgumentParser(description="Applies each of anchord's events once, to an SQLite database.")
    parser.add_argument("--server", default="localhost:50051", metavar="HOST:PORT")
    parser.add_argument("--token", help="the server's access token, where it asks for one")
    parser.add_argument("--subscription", default="consumer", metavar="NAME", help="one running consumer a name")
    parser.add_argument("--database", default="consumer.db", metavar="FILE")
    args = parser.parse_args()
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []

    database = sqlite3.connect(args.database)
    database.executescript(SCHEMA)
    # The channel would wait up to two minutes before it connects again; the pause above is enough.
    options = [("grpc.max_reconnect_backoff_ms", 1000)]
    async with grpc.aio.insecure_channel(args.server, options=options) as channel:
        stub = service_grpc.EventServiceStub(channel)
        consuming = asyncio.ensure_future(consume_for_ever(stub, metadata, database, args.subscription))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, consuming.cancel)
        try:
            await consuming
        except asyncio.CancelledError:
            print("told to stop: goes on from here next time", file=sys.stderr)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.ABORTED:
                raise
            return f"another consumer has taken over the subscription {args.subscription}: this one ends"
        finally:
            database.close()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
