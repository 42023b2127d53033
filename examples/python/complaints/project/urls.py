from complaints.views import upload_evidence
from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("complaints/<str:tracking_id>/evidence/", upload_evidence),
]
