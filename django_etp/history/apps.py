"""The app of the tables of histories, which is in INSTALLED_APPS as "django_etp.history"."""

from django.apps import AppConfig

__all__ = ["HistoryConfig"]


class HistoryConfig(AppConfig):
    """``"django_etp.history"`` in ``INSTALLED_APPS``."""

    name = "django_etp.history"
    label = "django_etp_history"
    verbose_name = "Room histories"
    default_auto_field = "django.db.models.BigAutoField"
