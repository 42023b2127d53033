#!/usr/bin/env python3
"""A backend that records a detected threat with anchord, and keeps the proof.

Needs the stubs: pip install ./gen/python. Run it with: python3 backend.py --server localhost:50051
"""
import argparse
import asyncio
import sys
import time
import uuid

import grpc
from google.protobuf import json_format

from anchord.v1 import audit_service_pb2 as audit
from anchord.v1 import audit_service_pb2_grpc as audit_grpc
from anchord.v1 import record_pb2 as record


async def record_threat(stub, metadata, subject, score, duration_minutes):
    """Records a threat, and returns the answer once the record is durable.

    The request_id makes the call safe to repeat: however often it is sent, and whatever was lost on the
    way back, there is one record.
    """
    request = audit.RecordEventRequest(
        subject=subject,
        actor="threat-detector",
        request_id=str(uuid.uuid4()),
        threat=record.Threat(
            score=score,
            duration_minutes=duration_minutes,
            scale=record.THREAT_SCALE_HUNDRED,
        ),
    )
    return await patiently(lambda: stub.RecordEvent(request, timeout=5, metadata=metadata))


async def wait_for_receipt(stub, metadata, record_id, seconds):
    """Asks for the receipt until it has its proof; returns the last one when the time is over."""
    request = audit.GetReceiptRequest(record_id=record_id)
    deadline = time.monotonic() + seconds
    while True:
        answer = await patiently(lambda: stub.GetReceipt(request, timeout=5, metadata=metadata))
        anchored = answer.state in (record.RECORD_STATE_ANCHORED, record.RECORD_STATE_FINAL)
        if anchored or time.monotonic() >= deadline:
            return answer, anchored
        await asyncio.sleep(0.25)


async def patiently(call, attempts=6):
    """Makes a call, and repeats it while the server is out of reach."""
    for attempt in range(attempts):
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            out_of_reach = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            if not out_of_reach or attempt == attempts - 1:
                raise
            print(f"server out of reach, trying again: {error.details()}", file=sys.stderr)
            await asyncio.sleep(0.2 * 2**attempt)


async def main():
    parser = argparse.ArgumentParser(description="Records a threat with anchord, and keeps the proof.")
    parser.add_argument("--server", default="localhost:50051", metavar="HOST:PORT")
    parser.add_argument("--token", help="the server's access token, where it asks for one")
    parser.add_argument("--out", default="receipt.json", metavar="FILE", help="where the receipt goes")
    parser.add_argument("--wait", type=float, default=60, metavar="SECONDS", help="how long to wait for the proof")
    args = parser.parse_args()
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []

    async with grpc.aio.insecure_channel(args.server) as channel:
        stub = audit_grpc.AuditServiceStub(channel)
        started = time.perf_counter()
        accepted = await record_threat(stub, metadata, "user/42", score=92.5, duration_minutes=18.7)
        took = (time.perf_counter() - started) * 1000
        print(f"accepted {accepted.record_id} in {took:.1f} ms")

        # A backend need not wait here: the record is durable. The receipt can be fetched at any time.
        answer, anchored = await wait_for_receipt(stub, metadata, accepted.record_id, args.wait)

    with open(args.out, "w", encoding="utf-8") as file:
        file.write(json_format.MessageToJson(answer) + "\n")
    if not anchored:
        print(f"not anchored after {args.wait:g} s; {args.out} has no proof yet", file=sys.stderr)
        return 1
    identity, batch = answer.receipt.identity, answer.receipt.batch
    print(f"sealed in batch {batch.number}; the receipt is in {args.out}")
    print(
        f"check it with: python3 examples/verify.py {args.out} --rpc URL"
        f" --chain-id {identity.chain_id} --contract {identity.contract}"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
