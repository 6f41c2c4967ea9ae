"""The app of the outbox, which is in INSTALLED_APPS as "django_etp.outbox"."""

from django.apps import AppConfig
from django.core import checks

from django_etp.server.companions import register_companion

__all__ = ["OutboxConfig"]


class OutboxConfig(AppConfig):
    """``"django_etp.outbox"`` in ``INSTALLED_APPS``."""

    name = "django_etp.outbox"
    label = "django_etp_outbox"
    verbose_name = "Durable events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let server processes relay, and register the check."""
        from .checks import check_outbox
        from .commits import ring_under_test
        from .servers import ServerRelays, deliver_under_test

        checks.register(check_outbox, checks.Tags.database)
        register_companion(ServerRelays())
        ring_under_test(deliver_under_test)
