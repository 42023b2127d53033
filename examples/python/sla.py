#!/usr/bin/env python3
"""Sets a deadline that the chain keeps, meets it, and prints the certificate of how it ended.

Needs the stubs: pip install ./gen/python. Run it with: python3 sla.py --subject complaint/ABC12345 --hours 48
"""
import argparse
import asyncio
import sys

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson

from anchord.v1 import record_pb2 as record
from anchord.v1 import sla_pb2 as sla
from anchord.v1 import sla_service_pb2 as service
from anchord.v1 import sla_service_pb2_grpc as service_grpc


def duration(hours):
    return Duration(seconds=round(hours * 3600))


def moment(time):
    return f"{time.ToDatetime().isoformat(' ')} UTC"


async def set_deadline(stub, credentials, args):
    """Sets the deadline, and waits until the chain has it. It is safe to repeat, by its request_id."""
    request = service.SetDeadlineRequest(
        subject=args.subject,
        actor="case-worker",
        request_id=args.request_id or "",
        within=duration(args.hours),
        # Escalated when it is broken, and once more for each of these.
        ladder=[duration(0), *(duration(hours) for hours in args.then)],
        wait_for=record.RECORD_STATE_ANCHORED,
    )
    return (await stub.SetDeadline(request, timeout=args.wait, metadata=credentials)).sla


async def meet_deadline(stub, credentials, args):
    """Says that the work is done. Whether that was in time, the block decides."""
    request = service.MeetDeadlineRequest(
        subject=args.subject,
        actor="case-worker",
        reason="answered",
        wait_for=record.RECORD_STATE_ANCHORED,
    )
    return (await stub.MeetDeadline(request, timeout=args.wait, metadata=credentials)).sla


def show(deadline):
    """How a deadline stands, and what was done to it."""
    state = sla.SLAState.Name(deadline.state).removeprefix("SLA_STATE_")
    print(f"{deadline.subject}, deadline {deadline.cycle}: {state}, until {moment(deadline.deadline)}")
    for change in deadline.changes:
        kind = sla.SLAChangeKind.Name(change.kind).removeprefix("SLA_CHANGE_KIND_")
        level = f" {change.level}" if change.level else ""
        if change.failure:
            print(f"  {kind} had no effect: {change.failure}")
        elif change.HasField("block_time"):
            print(f"  {kind}{level} by {change.actor or 'somebody'} at {moment(change.block_time)}")
        else:
            print(f"  {kind} waits for the chain")


async def main():
    parser = argparse.ArgumentParser(description="Sets a deadline, meets it, and prints its certificate.")
    parser.add_argument("--subject", default="complaint/ABC12345", help="what it is for")
    parser.add_argument("--hours", type=float, default=48, help="how long until it is broken")
    parser.add_argument(
        "--then", type=float, nargs="*", default=[24, 72], metavar="HOURS", help="further levels, after the deadline"
    )
    parser.add_argument("--request-id", metavar="ID", help="makes setting it safe to repeat")
    parser.add_argument("--no-meet", action="store_true", help="leave it open")
    parser.add_argument("--out", metavar="FILE", help="where the certificate goes; default: it is not fetched")
    parser.add_argument("--server", default="localhost:50051", metavar="HOST:PORT")
    parser.add_argument("--token", help="the server's access token, where it asks for one")
    parser.add_argument("--wait", type=float, default=60, metavar="SECONDS", help="how long to wait for the chain")
    args = parser.parse_args()
    credentials = [("authorization", f"Bearer {args.token}")] if args.token else []

    async with grpc.aio.insecure_channel(args.server) as channel:
        stub = service_grpc.SLAServiceStub(channel)
        show(await set_deadline(stub, credentials, args))
        if args.no_meet:
            return 0
        show(await meet_deadline(stub, credentials, args))
        if args.out:
            request = service.GetCertificateRequest(subject=args.subject)
            answer = await stub.GetCertificate(request, timeout=5, metadata=credentials)
            with open(args.out, "w", encoding="utf-8") as file:
                file.write(MessageToJson(answer.certificate) + "\n")
            verdict = sla.SLAVerdict.Name(answer.certificate.verdict).removeprefix("SLA_VERDICT_")
            print(f"{verdict}: the certificate is in {args.out}")
        return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
