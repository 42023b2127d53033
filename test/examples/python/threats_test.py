"""Plays the FastAPI example: detection comes first, and no critical threat is lost or doubled."""
from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import unittest
from datetime import datetime, timezone

import httpx
from support import SERVER, TOKEN, Road, add_to_path, trail, until

FOLDER = add_to_path("threats")
from audit import ThreatAudit, threat_event  # noqa: E402

NOW = datetime.now(timezone.utc)


class Backend(unittest.TestCase):
    """The backend as its users run it, and detections by HTTP."""

    def setUp(self) -> None:
        self.road = Road()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(FOLDER), "--port", "0", "--no-access-log"],
            env={**os.environ, "ANCHORD_SERVER": self.road.address, "ANCHORD_TOKEN": TOKEN},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.stop, signal.SIGKILL)
        address = self.read_log(r"running on (http://\S+)")[1]
        self.client = httpx.Client(base_url=address, timeout=5)
        self.addCleanup(self.client.close)

    def read_log(self, pattern: str) -> re.Match:
        """Reads what it says until it has said this."""
        while line := self.process.stderr.readline():
            if found := re.search(pattern, line):
                return found
        self.fail(f"it has ended before it said {pattern}")

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        if not self.process.stderr.closed:
            self.process.communicate(timeout=20)
        return self.process.returncode

    def detect(self, user_id: str, score: float) -> dict:
        answer = self.client.post(
            "/detect", json={"user_id": user_id, "threat_score": score, "duration_minutes": 0}
        )
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json()

    def audit(self) -> dict:
        return self.client.get("/health").json()["audit"]

    def test_critical_threats_are_recorded_and_nothing_else(self) -> None:
        for score, tier, is_queued in ((0, 0, False), (79.9, 2, False), (80, 3, True), (100, 3, True)):
            answer = self.detect("a", score)
            self.assertEqual((answer["tier"], answer["audit_queued"]), (tier, is_queued))
        until("both are recorded", lambda: self.audit()["recorded"] == 2)
        self.assertEqual([found.threat.score for found in trail("user/a")], [80, 100])
        for bad in ({"user_id": "a"}, {"user_id": "a", "threat_score": 101, "duration_minutes": 1}):
            self.assertEqual(self.client.post("/detect", json=bad).status_code, 422)

        # Away, in the worst of ways: detection answers as before, and what waits is there to be seen.
        self.road.close(silently=True)
        started = time.monotonic()
        for i in range(10):
            self.assertTrue(self.detect("b", 80 + i)["audit_queued"])
        self.assertLess(time.monotonic() - started, 4)
        self.assertEqual(self.audit()["waiting"], 10)

        # Told to stop while anchord is away: what waits goes out when it is back.
        self.process.send_signal(signal.SIGTERM)
        self.read_log("Waiting for application shutdown")
        self.road.open()
        self.assertIn(self.stop(0), (0, -signal.SIGTERM))
        self.assertEqual([found.threat.score for found in trail("user/b")], [80.0 + i for i in range(10)])
        self.assertTrue(all(found.caller != "" and found.request_id for found in trail("user/b")))


class Handler(unittest.IsolatedAsyncioTestCase):
    """The handler by itself, where memory ends."""

    async def test_an_answer_that_is_lost_makes_no_second_record(self) -> None:
        road = Road()
        handler = ThreatAudit(road.address, TOKEN)
        for i in range(4):
            road.loses_answer = i > 0  # the first makes the connection
            await asyncio.to_thread(handler.threat_detected, "c", 90, i, NOW)
            await asyncio.to_thread(until, "it is recorded", lambda: handler.recorded > i)
            self.assertFalse(road.loses_answer)
        await handler.close()
        self.assertEqual([found.threat.duration_minutes for found in trail("user/c")], [0, 1, 2, 3])

    async def test_what_is_dropped_or_refused_is_said_whole(self) -> None:
        handler = ThreatAudit("127.0.0.1:1", capacity=1)
        with self.assertLogs("audit", "ERROR") as log:
            self.assertTrue(handler.threat_detected("d", 81, 1, NOW))
            self.assertFalse(handler.threat_detected("d", 82, 1, NOW))
            for user_id, score in (("\ud800", 83), ("d" * 5_000_000, 83), ("d", "high")):
                self.assertFalse(handler.threat_detected(user_id, score, 1, NOW))
            await handler.close(grace_seconds=0)
            self.assertFalse(handler.threat_detected("d", 84, 1, NOW))
        self.assertEqual(len(log.output), 6)
        for score, line in ((82, log.output[0]), (81, log.output[4]), (84, log.output[5])):
            self.assertRegex(line, rf'is not recorded.*"requestId": ".{{36}}".*"score": {score}')
        status = handler.status()
        self.assertEqual((status["dropped"], status["refused"], status["waiting"]), (3, 3, 0))

    async def test_one_that_is_refused_does_not_keep_the_next(self) -> None:
        handler = ThreatAudit(SERVER, TOKEN)
        with self.assertLogs("audit", "ERROR") as log:
            handler.threat_detected("\n", 90, 1, NOW)
            handler.threat_detected("e", float("inf"), 1, NOW)
            handler.threat_detected("e", 90, 1, NOW)
            await handler.close()
        self.assertEqual((handler.refused, handler.recorded), (2, 1))
        self.assertIn("INVALID_ARGUMENT", log.output[0])
        self.assertEqual(len(trail("user/e")), 1)

    def test_a_time_without_a_zone_is_utc(self) -> None:
        event = threat_event("f", 90, 1, datetime(2026, 1, 31, 8))
        self.assertEqual(event.occur_time.ToJsonString(), "2026-01-31T08:00:00Z")


if __name__ == "__main__":
    unittest.main(verbosity=2)
