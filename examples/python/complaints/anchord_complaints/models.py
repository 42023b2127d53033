"""What is to be recorded, and what the chain has of it."""
from __future__ import annotations

import uuid
from typing import Any

from django.db import models, transaction
from django.utils import timezone


class OutboxState(models.TextChoices):
    """What has become of an entry of the outbox."""

    WAITING = "WAITING"
    RECORDED = "RECORDED"
    # anchord will not have it, and says why in last_error; drain_outbox --retry-refused tries again.
    REFUSED = "REFUSED"


def new_request_id() -> str:
    """What makes sending an entry safe to repeat."""
    return str(uuid.uuid4())


class OutboxEntry(models.Model):
    """An event or a file that anchord is to record: written in the transaction that it tells of.

    Its request_id goes with it however often it is sent, so that there is one record of it.
    """

    request_id = models.CharField(max_length=36, unique=True, editable=False, default=new_request_id)
    subject = models.CharField(max_length=256, db_index=True)
    actor = models.CharField(max_length=256, blank=True)
    occur_time = models.DateTimeField(default=timezone.now)
    state = models.CharField(
        max_length=8, choices=OutboxState.choices, default=OutboxState.WAITING, db_index=True
    )
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    record_id = models.CharField(max_length=64, blank=True, db_index=True)

    # Of an event of the complaint; how it stands after it.
    event_type = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=64, blank=True)
    assignee = models.CharField(max_length=256, blank=True)

    # Of a file: where the default storage has it, and what was handed in.
    file_path = models.CharField(max_length=500, blank=True)
    file_name = models.CharField(max_length=255, blank=True)
    media_type = models.CharField(max_length=255, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.PositiveBigIntegerField(null=True)

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "outbox entries"

    def __str__(self) -> str:
        return f"{self.subject} {self.event_type or self.file_name}: {self.state}"


class RecordedTransaction(models.Model):
    """A record of a complaint, and the transaction that sealed it: a copy of what anchord tells.

    It can be thrown away: listen_blockchain_events and sync_blockchain_events bring it back.
    """

    record_id = models.CharField(max_length=64, primary_key=True)
    sequence = models.PositiveBigIntegerField(db_index=True)
    subject = models.CharField(max_length=256, db_index=True)
    # The event type of a complaint's event, else the type of the record, such as "level_raised".
    event_type = models.CharField(max_length=64)
    # The level of an escalation.
    level = models.PositiveSmallIntegerField(null=True)
    # ACCEPTED until it is on the chain, and again if its block has left the chain; ANCHORED; FINAL.
    state = models.CharField(max_length=8)
    occur_time = models.DateTimeField()
    transaction_hash = models.CharField(max_length=66, blank=True)
    block_number = models.PositiveBigIntegerField(null=True)
    block_time = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-sequence"]

    def __str__(self) -> str:
        return f"{self.subject} {self.event_type}: {self.state}"


class AuditedComplaint(models.Model):
    """A complaint whose changes are recorded: put it in place of models.Model.

    Each save writes what it changed to the outbox, in the transaction of the save and in the default database.
    QuerySet.update() and bulk_create() pass it by, as they do every save(): the next one records what they did.
    """

    # Names of the fields that a subclass has, and the status by which a complaint is done with.
    tracking_id_field = "tracking_id"
    status_field = "status"
    assignee_field = "assignee"
    resolved_status = "RESOLVED"

    #: Who makes the next change, such as request.user.username; not stored.
    changed_by: str = ""

    class Meta:
        abstract = True

    @property
    def subject(self) -> str:
        """What anchord calls this complaint."""
        return f"complaint/{getattr(self, self.tracking_id_field)}"

    @property
    def escalation_level(self) -> int:
        """The highest level that the chain has raised on the complaint's deadlines; 0 for none."""
        raised = RecordedTransaction.objects.filter(subject=self.subject)
        return raised.aggregate(models.Max("level"))["level__max"] or 0

    def save(self, *args: Any, **kwargs: Any) -> None:
        from . import outbox  # which needs the models of this file

        is_new = self._state.adding
        with transaction.atomic():
            super().save(*args, **kwargs)
            outbox.add_changes(self, is_new)
