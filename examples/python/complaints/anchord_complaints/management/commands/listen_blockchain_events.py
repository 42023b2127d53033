import random
import signal
import sys
import time
from typing import Any

import grpc
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, close_old_connections

from ...chain import follow
from ...client import connect

LONGEST_PAUSE_SECONDS = 30

# Trying again is of no use.
HOPELESS = {
    grpc.StatusCode.ABORTED: "another listener has taken over: this one ends",
    grpc.StatusCode.UNAUTHENTICATED: "set ANCHORD_TOKEN to one of the server's API_TOKENS",
    grpc.StatusCode.OUT_OF_RANGE: "what was missed is no longer kept: run sync_blockchain_events, then begin a "
    "new subscription, after DeleteSubscription",
}


class Command(BaseCommand):
    help = "Brings in what happens to complaints on the chain, from where it last stopped, until it is told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        failures = 0
        while True:
            try:
                with connect() as client:
                    for count in follow(client):
                        failures = 0
                        if count:
                            self.stdout.write(f"{count} records of complaints")
                            self.stdout.flush()
                reason = "the stream ended"
            except grpc.RpcError as error:
                reason = f"{error.code().name}: {error.details()}"
                if error.code() in HOPELESS:
                    raise CommandError(f"{reason}\n{HOPELESS[error.code()]}") from error
            except OperationalError as error:
                reason = f"the database: {error}"
            close_old_connections()
            # Longer each time, and at random, so that many listeners do not come back all at once.
            pause = random.uniform(0.1, min(LONGEST_PAUSE_SECONDS, 0.2 * 2**failures))
            failures = min(failures + 1, 16)
            self.stderr.write(f"{reason}: trying again in {pause:.1f} s")
            time.sleep(pause)
