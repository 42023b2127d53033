from typing import Any

import grpc
from django.core.management.base import BaseCommand, CommandError, CommandParser

from anchord.v1 import sla_service_pb2 as sla

from ...client import connect

CALL_SECONDS = 60


class Command(BaseCommand):
    help = (
        "Escalates the deadlines that are overdue, and waits for the chain. anchord does so by itself, at the "
        "moment that they are due: this is for those who check that it does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what is due")
        parser.add_argument("--limit", type=int, default=100, help="at most so many; default 100, at most 1000")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["limit"] <= 1000:
            raise CommandError("--limit must be from 1 to 1000")
        request = sla.BatchCheckAndEscalateRequest(limit=options["limit"], dry_run=options["dry_run"])
        try:
            with connect() as client:
                answer = client.sla.BatchCheckAndEscalate(request, timeout=CALL_SECONDS, metadata=client.metadata)
        except grpc.RpcError as error:
            raise CommandError(f"anchord: {error.code().name}: {error.details()}") from error
        for check in answer.checks:
            outcome = sla.SLACheckOutcome.Name(check.outcome).replace("SLA_CHECK_OUTCOME_", "")
            if options["dry_run"] and outcome == "RAISED":
                outcome = "DUE"
            self.stdout.write(f"{check.subject}: {outcome}, level {check.previous_level} to {check.level}")
        self.stdout.write(f"{len(answer.checks)} checked")
