from typing import Any

from anchord_complaints import outbox
from anchord_complaints.models import AuditedComplaint
from django.db import models, transaction


class Complaint(AuditedComplaint):
    """A complaint of somebody, which somebody deals with."""

    class Status(models.TextChoices):
        OPEN = "OPEN"
        IN_PROGRESS = "IN_PROGRESS"
        RESOLVED = "RESOLVED"

    tracking_id = models.CharField(max_length=32, unique=True)
    text = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.OPEN)
    assignee = models.CharField(max_length=150, blank=True)

    def __str__(self) -> str:
        return self.tracking_id


class Attachment(models.Model):
    """A file that was handed in for a complaint. It is recorded when it is first saved."""

    complaint = models.ForeignKey(Complaint, on_delete=models.PROTECT)
    file = models.FileField(upload_to="evidence/", max_length=500)
    uploaded_by = models.CharField(max_length=150, blank=True)
    sha256 = models.CharField(max_length=64, editable=False)

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            return super().save(*args, **kwargs)
        upload = outbox.examine(self.file)
        self.sha256 = upload.sha256
        with transaction.atomic():
            super().save(*args, **kwargs)
            outbox.add_evidence(self.complaint.subject, self.file, upload, actor=self.uploaded_by)
