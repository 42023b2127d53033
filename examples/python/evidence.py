#!/usr/bin/env python3
"""Hands a file in as evidence with anchord, and shows later that it is the one that was handed in.

Needs the stubs: pip install ./gen/python. Run it with: python3 evidence.py photo.jpg --server localhost:50051
"""
import argparse
import asyncio
import contextlib
import hashlib
import os
import sys
import time

import grpc

from anchord.v1 import audit_service_pb2 as audit
from anchord.v1 import audit_service_pb2_grpc as audit_grpc
from anchord.v1 import evidence_service_pb2 as service
from anchord.v1 import evidence_service_pb2_grpc as service_grpc
from anchord.v1 import record_pb2 as record

# Any size up to 4 MiB: this much is in memory at once, however large the file is.
CHUNK_BYTES = 256 * 1024

VERDICTS = {
    service.EVIDENCE_VERDICT_VERIFIED: "VERIFIED",
    service.EVIDENCE_VERDICT_OTHER_SUBJECT: "HANDED IN FOR ANOTHER SUBJECT",
    service.EVIDENCE_VERDICT_NOT_ANCHORED: "NOT ANCHORED",
}


def sha256_of(path):
    """The hash that the bytes must have when they arrive: a damaged upload is refused."""
    digest = hashlib.sha256()
    for chunk in chunks_of(path):
        digest.update(chunk)
    return digest.hexdigest()


def chunks_of(path):
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def messages(message, metadata, path):
    """What a file is, then its bytes: the messages of an upload, or of a verification."""
    yield message(metadata=metadata)
    for chunk in chunks_of(path):
        yield message(chunk=chunk)


async def hand_in(stub, credentials, subject, path):
    """Uploads the file. It is safe to repeat: the same file for the same subject is there only once."""
    metadata = service.UploadEvidenceMetadata(
        subject=subject,
        actor="case-worker",
        file_name=os.path.basename(path),
        sha256=sha256_of(path),
        size=os.path.getsize(path),
    )
    parts = messages(service.UploadEvidenceRequest, metadata, path)
    answer = await stub.UploadEvidence(parts, metadata=credentials)
    return answer.evidence, answer.replayed


async def wait_until_anchored(stub, credentials, evidence, seconds):
    """Asks for the evidence until the chain has it; returns it as it is when the time is over."""
    request = service.GetEvidenceRequest(id=evidence.id)
    deadline = time.monotonic() + seconds
    while not evidence.HasField("anchor") and time.monotonic() < deadline:
        await asyncio.sleep(0.25)
        evidence = (await stub.GetEvidence(request, timeout=5, metadata=credentials)).evidence
    return evidence


async def verify(stub, credentials, subject, path):
    """Asks the chain whether this very file was handed in for the subject."""
    metadata = service.VerifyEvidenceMetadata(subject=subject)
    parts = messages(service.VerifyEvidenceRequest, metadata, path)
    return await stub.VerifyEvidence(parts, metadata=credentials)


async def fetch(stub, credentials, evidence, path):
    """Downloads the file; the service has checked each block of it against its hash."""
    request = service.DownloadEvidenceRequest(id=evidence.id)
    await save(stub.DownloadEvidence(request, metadata=credentials), path)


async def wait_until_sealed(stub, credentials, evidence, seconds):
    """Asks for the receipt of the evidence's record until it has its proof; False when the time is over."""
    request = audit.GetReceiptRequest(record_id=evidence.id)
    deadline = time.monotonic() + seconds
    while True:
        answer = await stub.GetReceipt(request, timeout=5, metadata=credentials)
        if answer.state in (record.RECORD_STATE_ANCHORED, record.RECORD_STATE_FINAL):
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(0.25)


async def export(stub, credentials, evidence, path):
    """Fetches the bundle: the file, its receipt and its trail, to be checked without the service."""
    request = service.ExportEvidenceRequest(id=evidence.id)
    await save(stub.ExportEvidence(request, metadata=credentials), path)


async def save(answers, path):
    """Writes the chunks of a stream to a file, which has its name once it is complete and not before."""
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "wb") as file:
            async for answer in answers:
                file.write(answer.chunk)
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


async def main():
    parser = argparse.ArgumentParser(description="Hands a file in as evidence, verifies it, and fetches it back.")
    parser.add_argument("file")
    parser.add_argument("--subject", default="complaint/ABC12345", help="what it is evidence for")
    parser.add_argument("--server", default="localhost:50051", metavar="HOST:PORT")
    parser.add_argument("--token", help="the server's access token, where it asks for one")
    parser.add_argument("--check", metavar="FILE", help="verify this file in place of the one that was handed in")
    parser.add_argument("--out", metavar="FILE", help="where the file that is fetched back goes")
    parser.add_argument("--bundle", metavar="FILE", help="where its bundle goes: one file with all that proves it")
    parser.add_argument("--wait", type=float, default=60, metavar="SECONDS", help="how long to wait for the anchor")
    args = parser.parse_args()
    credentials = [("authorization", f"Bearer {args.token}")] if args.token else []

    async with grpc.aio.insecure_channel(args.server) as channel:
        stub = service_grpc.EvidenceServiceStub(channel)
        evidence, replayed = await hand_in(stub, credentials, args.subject, args.file)
        print(f"{'known already' if replayed else 'accepted'}: {evidence.id}")
        print(f"IPFS: {evidence.cid}")

        # A backend need not wait here: the evidence is durable, and will be anchored.
        evidence = await wait_until_anchored(stub, credentials, evidence, args.wait)
        if not evidence.HasField("anchor"):
            print(f"not anchored within {args.wait:g} s: {evidence.failure or 'is the chain there?'}")
            return 1
        print(f"{record.RecordState.Name(evidence.state)} in block {evidence.anchor.block_number}")

        answer = await verify(stub, credentials, args.subject, args.check or args.file)
        print(f"{VERDICTS[answer.verdict]}: {answer.sha256}")
        for found in answer.anchors:
            moment = found.anchor.block_time.ToDatetime().isoformat(" ")
            print(f"  {found.subject}, anchored by {found.anchor.submitter} at {moment} UTC")

        if args.out:
            await fetch(stub, credentials, evidence, args.out)
            print(f"fetched to {args.out}")

        if args.bundle:
            # The file's anchor and its record are on the chain by transactions of their own.
            audit_stub = audit_grpc.AuditServiceStub(channel)
            if not await wait_until_sealed(audit_stub, credentials, evidence, args.wait):
                print(f"its record is not sealed within {args.wait:g} s, so there is no bundle of it yet")
                return 1
            await export(stub, credentials, evidence, args.bundle)
            print(f"bundle in {args.bundle}; check it with: npx anchord verify {args.bundle} --rpc URL")
        return 0 if answer.verdict == service.EVIDENCE_VERDICT_VERIFIED else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
    except OSError as error:
        sys.exit(str(error))
