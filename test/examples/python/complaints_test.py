"""Plays the Django example: what is saved is recorded once, whatever anchord does, and no caller waits for it."""
from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from support import METADATA, Road, add_to_path, stub, trail, until

FOLDER = add_to_path("complaints")
DATA = tempfile.TemporaryDirectory(prefix="anchord-complaints-")
ROAD = Road()
os.environ.update(COMPLAINTS_DATA=DATA.name, ANCHORD_SERVER=ROAD.address, DJANGO_SETTINGS_MODULE="project.settings")

import django  # noqa: E402

django.setup()

from anchord_complaints.client import connect  # noqa: E402
from anchord_complaints.models import OutboxEntry, RecordedTransaction  # noqa: E402
from complaints.models import Attachment, Complaint  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.files.base import ContentFile  # noqa: E402
from django.core.files.uploadedfile import SimpleUploadedFile  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.test import Client  # noqa: E402

from anchord.v1 import audit_service_pb2 as audit  # noqa: E402
from anchord.v1 import record_pb2 as record  # noqa: E402
from anchord.v1 import sla_pb2 as sla  # noqa: E402
from anchord.v1 import sla_service_pb2 as sla_service  # noqa: E402


def command(*args: str) -> str:
    output = io.StringIO()
    call_command(*args, stdout=output, stderr=output)
    return output.getvalue()


def is_drained() -> bool:
    return not OutboxEntry.objects.filter(state="WAITING").exists()


def events(tracking_id: str) -> list[str]:
    """What a complaint's trail tells that was asked for here, oldest first."""
    found = [(entry.WhichOneof("body"), entry) for entry in trail(f"complaint/{tracking_id}")]
    shown = ((body, entry) for body, entry in found if body in ("complaint", "evidence_added"))
    return [entry.complaint.event_type if body == "complaint" else body.upper() for body, entry in shown]


def deadline_of(tracking_id: str) -> sla.SLA:
    with connect() as client:
        request = sla_service.GetSLARequest(subject=f"complaint/{tracking_id}")
        return client.sla.GetSLA(request, timeout=5, metadata=METADATA).sla


class Complaints(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        command("migrate")
        User.objects.create_superuser("kim", password="secret")
        cls.listener = subprocess.Popen(
            [sys.executable, str(FOLDER / "manage.py"), "listen_blockchain_events"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @classmethod
    def tearDownClass(cls) -> None:
        cls.listener.send_signal(signal.SIGTERM)
        errors = cls.listener.communicate(timeout=20)[1]
        assert cls.listener.returncode == 0, errors

    def setUp(self) -> None:
        self.client = Client()
        self.client.force_login(User.objects.get())
        self.addCleanup(ROAD.open)

    def test_the_life_of_a_complaint(self) -> None:
        complaint = Complaint(tracking_id="ABC12345", text="too loud")
        complaint.changed_by = "kim"
        complaint.save()
        complaint.assignee = "sam"
        complaint.save()
        until("it was recorded", is_drained)

        # An assignment sets the deadline, 48 hours from when it happened.
        deadline = until("it is on the chain", lambda: is_known("ABC12345") and deadline_of("ABC12345"))
        assigned = OutboxEntry.objects.get(subject=complaint.subject, event_type="ASSIGNED").occur_time
        due = deadline.deadline.ToDatetime().replace(tzinfo=assigned.tzinfo)
        self.assertAlmostEqual(due - assigned, timedelta(hours=48), delta=timedelta(seconds=1))

        content = os.urandom(300_000)
        upload = SimpleUploadedFile("photo.jpg", content, content_type="nonsense")
        answer = self.client.post("/complaints/ABC12345/evidence/", {"file": upload})
        self.assertEqual(answer.status_code, 201)
        self.assertEqual(answer.json()["file_hash"], hashlib.sha256(content).hexdigest())

        complaint.status = Complaint.Status.IN_PROGRESS
        complaint.save()
        complaint.text = "much too loud"
        complaint.save()
        complaint.status = "RESOLVED"
        complaint.text = "quiet again"
        complaint.save(update_fields=["text"])  # which leaves the status as it was
        complaint.save(update_fields=["status"])
        until("it was recorded", is_drained)
        self.assertEqual(
            events("ABC12345"), ["CREATED", "ASSIGNED", "EVIDENCE_ADDED", "STATUS_UPDATED", "RESOLVED"]
        )
        first, *_, last = (found for found in trail(complaint.subject) if found.HasField("complaint"))
        self.assertEqual((first.actor, first.complaint.status, first.complaint.assignee), ("kim", "OPEN", ""))
        self.assertEqual((last.complaint.status, last.complaint.assignee), ("RESOLVED", "sam"))
        file = next(found for found in trail(complaint.subject) if found.HasField("evidence_added")).evidence_added
        self.assertEqual((file.file_name, file.size, file.media_type), ("photo.jpg", 300_000, "image/jpeg"))
        until("the deadline is met", lambda: deadline_of("ABC12345").state == sla.SLA_STATE_MET)

        until("the listener has it", lambda: transactions("ABC12345") >= set(events("ABC12345")))
        told = RecordedTransaction.objects.filter(subject=complaint.subject, event_type="RESOLVED").get()
        self.assertRegex(told.transaction_hash, "^0x[0-9a-f]{64}$")
        self.assertEqual(told.record_id, OutboxEntry.objects.get(event_type="RESOLVED").record_id)

    def test_what_is_not_committed_is_not_recorded(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            Complaint.objects.create(tracking_id="UNDONE")
            1 / 0
        self.assertFalse(OutboxEntry.objects.filter(subject="complaint/UNDONE").exists())
        self.assertEqual(self.client.post("/complaints/NONE/evidence/").status_code, 404)
        Complaint.objects.create(tracking_id="EMPTY")
        answer = self.client.post("/complaints/EMPTY/evidence/")
        self.assertEqual((answer.status_code, answer.json()), (400, {"error": "No file provided"}))
        self.assertEqual(Client().post("/complaints/EMPTY/evidence/").status_code, 302)

    def test_nothing_is_lost_or_doubled_while_anchord_is_away(self) -> None:
        ROAD.close()
        started = time.monotonic()
        for name in ("AWAY1", "AWAY2"):
            complaint = Complaint.objects.create(tracking_id=name, assignee="sam")
            Attachment(complaint=complaint, file=ContentFile(name.encode(), "a.txt")).save()
        self.assertLess(time.monotonic() - started, 4)
        with self.assertRaisesRegex(CommandError, "has not taken entry .*: UNAVAILABLE"):
            command("drain_outbox")

        ROAD.open()
        ROAD.loses_answer = True
        until("all is recorded", is_recorded_by_jobs)
        for name in ("AWAY1", "AWAY2"):
            self.assertEqual(events(name), ["CREATED", "ASSIGNED", "EVIDENCE_ADDED"])

        # As if the process had died between anchord's answer and noting it.
        OutboxEntry.objects.filter(subject__startswith="complaint/AWAY").update(state="WAITING", record_id="")
        command("drain_outbox")
        for name in ("AWAY1", "AWAY2"):
            self.assertEqual(events(name), ["CREATED", "ASSIGNED", "EVIDENCE_ADDED"])

    def test_many_at_once(self) -> None:
        def create(i: int) -> None:
            Complaint.objects.create(tracking_id=f"CROWD{i}")
            connections.close_all()

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(create, range(10)))
            list(pool.map(lambda _: (command("drain_outbox"), connections.close_all()), range(2)))
        until("all is recorded", is_drained)
        self.assertEqual([events(f"CROWD{i}") for i in range(10)], [["CREATED"]] * 10)

    def test_what_is_refused_is_seen_and_keeps_nothing_else(self) -> None:
        ROAD.close()
        Complaint.objects.create(tracking_id="BAD\n")
        good = Complaint.objects.create(tracking_id="GOOD")
        altered = Attachment(complaint=good, file=ContentFile(b"as it was", "b.txt"))
        altered.save()
        Path(altered.file.path).write_bytes(b"as it is!")
        gone = Attachment(complaint=good, file=ContentFile(b"here", "c.txt"))
        gone.save()
        Path(gone.file.path).unlink()
        ROAD.open()
        with self.assertLogs("anchord_complaints", "ERROR"):
            until("all is sent", is_recorded_by_jobs)
        self.assertEqual(events("GOOD"), ["CREATED"])
        refused = OutboxEntry.objects.filter(state="REFUSED")
        self.assertEqual(refused.count(), 3)
        for entry, why in zip(refused, ("INVALID_ARGUMENT: subject", "INVALID_ARGUMENT: .*sha256", "No such file")):
            self.assertRegex(entry.last_error, why)

        Path(altered.file.path).write_bytes(b"as it was")
        with self.assertLogs("anchord_complaints", "ERROR"):
            self.assertRegex(command("drain_outbox", "--retry-refused"), "0 waiting, 2 refused")
        self.assertEqual(events("GOOD"), ["CREATED", "EVIDENCE_ADDED"])

    def test_an_escalation_arrives(self) -> None:
        complaint = Complaint.objects.create(tracking_id="LATE")
        self.assertEqual(command("check_sla", "--dry-run", "--limit", "50"), "0 checked\n")
        # On a busy machine it may have passed before the chain has it, which the chain does not take.
        until("the chain has a deadline", lambda: set_deadline(complaint.subject, 3) == sla.SLA_STATE_OPEN)
        until("it has passed", lambda: deadline_of("LATE").breached)
        # Whoever is first, this or anchord by itself.
        output = command("check_sla", "--limit", "50")
        self.assertRegex(output, r"^(complaint/LATE: \w+, level \d to 1\n1|0) checked$")
        until("it is escalated here", lambda: complaint.escalation_level == 1)

        # A database that has lost what it was told gets it again.
        before = set(RecordedTransaction.objects.values_list("record_id", "transaction_hash"))
        RecordedTransaction.objects.all().delete()
        last = stub.GetStats(audit.GetStatsRequest(), metadata=METADATA).block_number
        output = command("sync_blockchain_events", "--from-block", "0", "--to-block", str(last))
        self.assertRegex(output, r"blocks read, 0 things mended in anchord\n\d+ records of complaints brought in")
        after = set(RecordedTransaction.objects.values_list("record_id", "transaction_hash"))
        self.assertGreaterEqual(after, before)
        self.assertEqual(complaint.escalation_level, 1)
        with self.assertRaisesRegex(CommandError, "--limit"):
            command("check_sla", "--limit", "0")

    def test_admin_pages_are_to_look_at(self) -> None:
        page = "/admin/complaints/complaint/add/"
        form = {"tracking_id": "DESK", "text": "x", "status": "OPEN", "assignee": ""}
        self.assertEqual(self.client.post(page, form).status_code, 302)
        entry = OutboxEntry.objects.get(subject="complaint/DESK")
        self.assertEqual((entry.event_type, entry.actor), ("CREATED", "kim"))
        until("it was recorded", is_drained)
        until("the listener has it", lambda: transactions("DESK"))
        for name in ("outboxentry", "recordedtransaction"):
            page = f"/admin/anchord_complaints/{name}/"
            self.assertContains(self.client.get(page), "complaint/DESK")
            self.assertEqual(self.client.get(f"{page}add/").status_code, 403)
        self.assertEqual(self.client.post(f"{page}{entry.pk}/delete/", {"post": "yes"}).status_code, 403)

    def assertContains(self, response, text: str) -> None:
        self.assertEqual(response.status_code, 200)
        self.assertIn(text, response.content.decode())


def is_known(tracking_id: str) -> bool:
    """Whether the policy has looked at the assignment already."""
    return any(found.HasField("deadline_set") for found in trail(f"complaint/{tracking_id}"))


def is_recorded_by_jobs() -> bool:
    """Runs the job that sends what waits, as cron would; whether nothing waits any more."""
    try:
        command("drain_outbox")
    except CommandError:
        return False
    return is_drained()


def set_deadline(subject: str, seconds: int) -> sla.SLAState:
    with connect() as client:
        request = sla_service.SetDeadlineRequest(
            subject=subject, within={"seconds": seconds}, wait_for=record.RECORD_STATE_ANCHORED
        )
        return client.sla.SetDeadline(request, timeout=20, metadata=METADATA).sla.state


def transactions(tracking_id: str) -> set[str]:
    found = RecordedTransaction.objects.filter(subject=f"complaint/{tracking_id}")
    return set(found.values_list("event_type", flat=True))


if __name__ == "__main__":
    unittest.main(verbosity=2)
