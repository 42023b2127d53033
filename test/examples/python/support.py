"""What the tests of the Python examples share: a road to anchord that can be closed, and what anchord has."""
from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Callable

import grpc

from anchord.v1 import audit_service_pb2 as audit
from anchord.v1 import audit_service_pb2_grpc as audit_grpc

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"
SERVER = os.environ["ANCHORD_SERVER"]
TOKEN = os.environ["ANCHORD_TOKEN"]
METADATA = [("authorization", f"Bearer {TOKEN}")]

stub = audit_grpc.AuditServiceStub(grpc.insecure_channel(SERVER))


def trail(subject: str) -> list:
    """A subject's records, oldest first."""
    request = audit.GetTrailRequest(subject=subject)
    return list(stub.GetTrail(request, timeout=10, metadata=METADATA).records)


def until(what: str, condition: Callable[[], object], seconds: float = 20):
    """Waits until a condition holds, and returns what it gave."""
    give_up = time.monotonic() + seconds
    while not (held := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return held


class Road:
    """A fixed address in front of anchord, which leads nowhere while it is closed."""

    def __init__(self) -> None:
        self.is_open = True
        self._is_silent = False
        #: Has the next thing that anchord says be lost on the way, and the connection with it.
        self.loses_answer = False
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self, silently: bool = False) -> None:
        """Breaks every connection, and refuses new ones; or takes them and says nothing, for ever."""
        self.is_open, self._is_silent = False, silently
        self._cut()

    def open(self) -> None:
        """Has it lead to anchord again."""
        if not self.is_open:
            self.is_open = True
            self._cut()

    def _cut(self) -> None:
        for sock in list(self._sockets):
            hang_up(sock)

    def _accept(self) -> None:
        while True:
            inbound, _ = self._listener.accept()
            if not self.is_open:
                if self._is_silent:
                    self._sockets.add(inbound)
                else:
                    inbound.close()
                continue
            host, port = SERVER.rsplit(":", 1)
            outbound = socket.create_connection((host, int(port)))
            for source, target in ((inbound, outbound), (outbound, inbound)):
                self._sockets.add(source)
                args = (source, target, source is outbound)
                threading.Thread(target=self._carry, args=args, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_back and self.loses_answer:
                    self.loses_answer = False
                    break
                target.sendall(data)
        hang_up(source)
        hang_up(target)
        self._sockets.discard(source)
        source.close()


def hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was first
        sock.shutdown(socket.SHUT_RDWR)


def add_to_path(example: str) -> Path:
    """Has the modules of an example imported as its users import them."""
    folder = EXAMPLES / example
    sys.path.insert(0, str(folder))
    return folder
