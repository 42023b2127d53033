from typing import Any

from django.contrib import admin

from .models import OutboxEntry, RecordedTransaction


class ReadOnlyAdmin(admin.ModelAdmin):
    """Pages to look at. What was recorded is not to be changed here, nor anywhere."""

    def has_add_permission(self, *args: Any) -> bool:
        return False

    def has_change_permission(self, *args: Any) -> bool:
        return False

    def has_delete_permission(self, *args: Any) -> bool:
        return False


@admin.register(OutboxEntry)
class OutboxEntryAdmin(ReadOnlyAdmin):
    list_display = ["id", "subject", "event_type", "file_name", "state", "attempts", "last_error", "occur_time"]
    list_filter = ["state", "event_type"]
    search_fields = ["subject", "record_id", "request_id"]


@admin.register(RecordedTransaction)
class RecordedTransactionAdmin(ReadOnlyAdmin):
    list_display = ["sequence", "subject", "event_type", "level", "state", "block_number", "transaction_hash"]
    list_filter = ["state", "event_type"]
    search_fields = ["subject", "record_id", "transaction_hash"]
