from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Complaint


@admin.register(Complaint)
class ComplaintAdmin(admin.ModelAdmin):
    list_display = ["tracking_id", "status", "assignee", "escalation_level"]

    def save_model(self, request: HttpRequest, obj: Complaint, *args: Any) -> None:
        obj.changed_by = request.user.get_username()
        super().save_model(request, obj, *args)
