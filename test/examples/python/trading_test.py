"""Plays the trading bot's plugin: the calls that bots make, and where the plugin before it failed them."""
from __future__ import annotations

import os
import sqlite3
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

from support import SERVER, TOKEN, Road, add_to_path, trail, until

add_to_path("trading")
from audit_plugin import AuditError, AuditTrailPlugin  # noqa: E402

TRADE = {"id": "T-1", "symbol": "BTC/USDT", "side": "buy", "quantity": 0.5, "price": 50000.0}
HOUR = timedelta(hours=1)


class Trading(unittest.TestCase):
    def setUp(self) -> None:
        self.plugin = AuditTrailPlugin({"server": SERVER, "token": TOKEN, "mining_interval": 60})
        self.addCleanup(self.plugin.shutdown)

    def test_the_calls_of_a_bot(self) -> None:
        before = self.plugin.get_chain_stats()
        now = datetime.now(timezone.utc).replace(microsecond=123456)
        details = {"fills": [{"price": Decimal("50000.10"), "at": now}], "fee": 1.5, "maker": False}
        trade = {**TRADE, "timestamp": now, "order_type": "market", "execution": details}
        ids = [
            self.plugin.record_trade(trade),
            self.plugin.record_order({**TRADE, "id": "O-1", "side": "SELL", "type": "limit", "status": "filled"}),
            self.plugin.record_system_change(
                {
                    "component": "strategy",
                    "change_type": "config",
                    "user": "kim",
                    "details": {"old_value": 1, "new_value": 2},
                }
            ),
        ]
        mined = self.plugin.force_mine()
        self.assertEqual(mined["pending"], 0)

        found = self.plugin.get_audit_trail(limit=3)
        self.assertEqual([entry["id"] for entry in found], ids[::-1])
        change, order, first = found
        self.assertEqual(first["timestamp"], now.isoformat().replace("+00:00", "Z"))
        self.assertEqual(
            first["data"],
            {
                "trade_id": "T-1",
                "symbol": "BTC/USDT",
                "side": "buy",
                "quantity": 0.5,
                "price": 50000.0,
                "order_type": "market",
                "details": {
                    "execution": {"fills": [{"price": "50000.10", "at": now.isoformat()}], "fee": 1.5, "maker": False}
                },
            },
        )
        self.assertEqual((order["data"]["status"], order["data"]["side"]), ("filled", "sell"))
        self.assertEqual((change["user"], change["data"]["details"]), ("kim", {"old_value": 1, "new_value": 2}))
        self.assertEqual((change["block_index"], change["block_hash"]), (mined["index"], mined["hash"]))
        self.assertRegex(first["block_hash"], "^[0-9a-f]{64}$")

        # What comes back is nobody's but the caller's.
        first["data"]["price"] = 1
        first["data"]["details"].clear()
        again = self.plugin.get_audit_trail("trade", limit=1)
        self.assertEqual([(entry["id"], entry["data"]["price"]) for entry in again], [(ids[0], 50000.0)])
        self.assertTrue(self.plugin.verify_chain_integrity())

        stats = self.plugin.get_chain_stats()
        self.assertEqual(stats["total_transactions"], before["total_transactions"] + 3)
        self.assertEqual(stats["transaction_types"]["order"], before["transaction_types"].get("order", 0) + 1)
        self.assertEqual((stats["pending_transactions"], stats["is_valid"]), (0, True))
        self.assertEqual(stats["chain_length"], mined["index"] + 1)
        self.assertLessEqual(stats["first_block_time"], stats["last_block_time"])

    def test_times_with_and_without_a_zone_find_the_same(self) -> None:
        # Somewhere east of here, so that a time whose zone was dropped would be hours off.
        self.addCleanup(set_zone, os.environ.get("TZ"))
        set_zone("Asia/Tokyo")
        at = datetime(2026, 3, 1, 12)  # local
        self.plugin.record_system_change({"component": "clock", "change_type": "naive", "timestamp": at})
        aware = at.astimezone(timezone(timedelta(hours=-5)))
        self.plugin.record_system_change({"component": "clock", "change_type": "aware", "timestamp": aware})
        text = at.astimezone(timezone.utc).isoformat()
        self.plugin.record_system_change({"component": "clock", "change_type": "text", "timestamp": text})
        for start, end in ((at, at + HOUR), (aware, aware + HOUR), (text, at.timestamp() + 1)):
            found = self.plugin.get_audit_trail(start_time=start, end_time=end)
            self.assertEqual([entry["data"]["change_type"] for entry in found], ["text", "aware", "naive"])
            self.assertEqual({entry["timestamp"] for entry in found}, {"2026-03-01T03:00:00Z"})
        self.assertEqual(self.plugin.get_audit_trail(start_time=at - HOUR, end_time=aware), [])

    def test_many_at_once_and_the_newest_first(self) -> None:
        trades = [{**TRADE, "id": f"C-{i}", "symbol": "CROWD"} for i in range(50)]
        with ThreadPoolExecutor(10) as pool:
            ids = list(pool.map(self.plugin.record_trade, trades))
        found = [entry for entry in self.plugin.get_audit_trail("trade", limit=1000) if entry["id"] in ids]
        self.assertEqual(len(found), 50)
        newest = self.plugin.get_audit_trail(limit=7)
        self.assertEqual([entry["id"] for entry in newest], [entry["id"] for entry in found[:7]])

    def test_bad_input_is_said_and_leaves_nothing(self) -> None:
        before = self.plugin.get_chain_stats()["total_transactions"]
        for wrong, why in (
            ({"id": None}, "id is missing"),
            ({"side": "hold"}, "side must be buy or sell, not 'hold'"),
            ({"price": "much"}, "price must be a number, not 'much'"),
            ({"quantity": -1}, "trade.quantity: must be greater than or equal to 0"),
            ({"price": float("nan")}, "trade.price: must be finite"),
            ({"symbol": "\ud800"}, "surrogates not allowed"),
            ({"timestamp": "yesterday"}, "yesterday"),
            ({"timestamp": 1.7e12}, "out of range"),
            ({"venue": object()}, "venue is a object"),
        ):
            with self.subTest(why), self.assertRaisesRegex(AuditError, why):
                self.plugin.record_trade({**TRADE, **wrong})
        with self.assertRaisesRegex(AuditError, "limit must be 1 or more"):
            self.plugin.get_audit_trail(limit=0)
        with AuditTrailPlugin({"server": SERVER, "token": "wrong"}) as stranger:
            self.assertRaisesRegex(AuditError, "UNAUTHENTICATED: .*API_TOKENS", stranger.record_trade, TRADE)
        self.assertEqual(self.plugin.get_chain_stats()["total_transactions"], before)

    def test_no_record_is_lost_or_doubled_on_a_bad_road(self) -> None:
        road = Road()
        plugin = AuditTrailPlugin({"server": road.address, "token": TOKEN, "patience_seconds": 20})
        impatient = AuditTrailPlugin({"server": road.address, "token": TOKEN, "patience_seconds": 0})
        self.addCleanup(plugin.shutdown)
        self.addCleanup(impatient.shutdown)
        plugin.record_trade({**TRADE, "id": "R-0"})
        road.loses_answer = True
        plugin.record_trade({**TRADE, "id": "R-1"})
        self.assertFalse(road.loses_answer)
        self.assertEqual(len(trail("trade/R-1")), 1)

        road.close()
        started = time.monotonic()
        with self.assertRaisesRegex(AuditError, "UNAVAILABLE") as raised:
            impatient.record_trade({**TRADE, "id": "R-2"})
        self.assertLess(time.monotonic() - started, 4)
        self.assertTrue(raised.exception.is_passing)
        with self.assertRaisesRegex(AuditError, "UNAVAILABLE"):
            impatient.verify_chain_integrity()
        with self.assertLogs("audit_plugin", "WARNING") as log, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(plugin.record_trade, {**TRADE, "id": "R-2"}, raised.exception.request_id)
            until("it finds the road closed", lambda: log.output)
            road.open()
            self.assertEqual(waiting.result(), trail("trade/R-2")[0].id)
        self.assertEqual(len(trail("trade/R-2")), 1)
        with self.assertRaisesRegex(AuditError, "ALREADY_EXISTS"):
            plugin.record_trade({**TRADE, "id": "R-3"}, raised.exception.request_id)

        plugin.shutdown()
        plugin.shutdown()
        for call in (plugin.get_chain_stats, plugin.verify_chain_integrity, lambda: plugin.record_trade(TRADE)):
            self.assertRaisesRegex(AuditError, "shut down", call)


class AfterARestart(unittest.TestCase):
    def test_the_chain_is_valid_until_somebody_alters_it(self) -> None:
        with AuditTrailPlugin({"server": SERVER, "token": TOKEN}) as plugin:
            before = plugin.get_chain_stats()
            self.assertTrue(before["is_valid"])
            self.assertGreater(before["total_transactions"], 50)
            plugin.record_trade({**TRADE, "id": "LAST"})
            self.assertGreaterEqual(plugin.force_mine()["index"], before["chain_length"])
            self.assertTrue(plugin.verify_chain_integrity())

            database = sqlite3.connect(Path(os.environ["ANCHORD_DATA"]) / "anchord.db", timeout=10)
            with database:
                row = database.execute("select seq, entry from records order by seq desc limit 1").fetchone()
                altered = row[1].replace(b"BTC", b"ETH")
                self.assertNotEqual(altered, row[1])
                database.execute("update records set entry = ? where seq = ?", (altered, row[0]))
            database.close()
            self.assertFalse(plugin.verify_chain_integrity())
            self.assertFalse(plugin.get_chain_stats()["is_valid"])


def set_zone(zone: str | None) -> None:
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()


if __name__ == "__main__":
    unittest.main(verbosity=2)
