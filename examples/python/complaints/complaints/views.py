from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.contrib.auth.decorators import login_required
from django.views.decorators.http import require_POST

from .models import Attachment, Complaint


@login_required
@require_POST
def upload_evidence(request: HttpRequest, tracking_id: str) -> JsonResponse:
    """Takes a file for a complaint. The answer does not wait for anchord, nor for the chain."""
    complaint = get_object_or_404(Complaint, tracking_id=tracking_id)
    if "file" not in request.FILES:
        return JsonResponse({"error": "No file provided"}, status=400)
    attachment = Attachment(
        complaint=complaint, file=request.FILES["file"], uploaded_by=request.user.get_username()
    )
    attachment.save()
    return JsonResponse({"file_hash": attachment.sha256, "file_path": attachment.file.name}, status=201)
