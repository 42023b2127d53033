from django.apps import AppConfig


class AnchordComplaintsConfig(AppConfig):
    """Complaints, recorded with anchord.

    Needs USE_TZ, ANCHORD_SERVER, ANCHORD_TOKEN and ANCHORD_AFTER_COMMIT; project/settings.py says what they are.
    """

    name = "anchord_complaints"
    verbose_name = "Audit trail"
    default_auto_field = "django.db.models.BigAutoField"
