import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from ...models import OutboxEntry, OutboxState
from ...outbox import drain

PAUSE_SECONDS = 2


class Command(BaseCommand):
    help = "Sends what waits in the outbox to anchord. Safe to run at any time, and as often as you like."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--follow", action="store_true", help="go on with what comes, until Ctrl-C")
        parser.add_argument("--retry-refused", action="store_true", help="send what was refused once more")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["retry_refused"]:
            OutboxEntry.objects.filter(state=OutboxState.REFUSED).update(state=OutboxState.WAITING)
        try:
            self.report(drain())
            while options["follow"]:
                time.sleep(PAUSE_SECONDS)
                try:
                    drain()
                except OperationalError as error:
                    self.stderr.write(f"the database does not answer, trying again: {error}")
        except KeyboardInterrupt:
            return
        left = OutboxEntry.objects.filter(state=OutboxState.WAITING).first()
        if left is not None:
            raise CommandError(f"anchord has not taken entry {left.pk} and what comes after it: {left.last_error}")

    def report(self, taken: int) -> None:
        refused = OutboxEntry.objects.filter(state=OutboxState.REFUSED).count()
        waiting = OutboxEntry.objects.filter(state=OutboxState.WAITING).count()
        self.stdout.write(f"{taken} recorded, {waiting} waiting, {refused} refused")
