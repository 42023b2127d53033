from typing import Any

import grpc
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...chain import read_again
from ...client import connect


class Command(BaseCommand):
    help = (
        "Has anchord read a range of blocks again, and brings in the records that were sealed in them. "
        "listen_blockchain_events misses nothing by itself: this is for a database that has lost something."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from-block", type=int, default=0, help="the first block; default: that of the log")
        parser.add_argument("--to-block", type=int, default=0, help="the last block; default: the last there is")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["from_block"] < 0 or options["to_block"] < 0:
            raise CommandError("--from-block and --to-block must not be negative")
        try:
            with connect() as client:
                found, count = read_again(client, options["from_block"], options["to_block"])
        except grpc.RpcError as error:
            raise CommandError(f"anchord: {error.code().name}: {error.details()}") from error
        mended = found.batches_mended + found.evidence_mended + found.deadlines_mended
        self.stdout.write(f"{found.blocks_read} blocks read, {mended} things mended in anchord")
        self.stdout.write(f"{count} records of complaints brought in")
