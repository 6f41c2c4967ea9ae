"""The Django app: when Django starts, it registers checks and signal receivers, and imports the event modules."""

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks

from .checks.layers import check_channel_layer
from .checks.sessions import check_session_engine
from .checks.settings import check_settings
from .conf import find_problems
from .events.checks import check_handlers
from .events.registry import registry
from .history.checks import check_histories

__all__ = ["DjangoEtpConfig"]

_check_histories = check_histories(lambda: registry.has_histories)  # one object: Django runs a check once


class DjangoEtpConfig(AppConfig):
    """django_etp in ``INSTALLED_APPS``."""

    name = "django_etp"
    verbose_name = "Event Transport Protocol"

    def ready(self) -> None:
        """Register the checks and signal receivers, then import every app's event modules."""
        checks.register(check_settings)
        checks.register(check_channel_layer)
        checks.register(check_session_engine)
        checks.register(check_handlers)
        checks.register(_check_histories)
        from .auth.permissions import connect_permission_signals
        from .auth.receivers import connect_signals
        from .events.middleware import load_middleware
        from .hub import process
        from .rooms.model_events import connect_waiting
        from .server.serving import report_to_hooks

        connect_signals()
        connect_permission_signals()
        process.report = report_to_hooks
        connect_waiting()
        if apps.is_installed("django.contrib.admin"):
            from .live import queries as queries  # processes answer them from now on
            from .live.losses import connect_receivers

            connect_receivers()
        if not find_problems(getattr(settings, "ETP", {})):
            registry.discover()
            load_middleware()
