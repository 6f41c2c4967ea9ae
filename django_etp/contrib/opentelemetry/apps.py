"""The app of the traces, which is in INSTALLED_APPS as "django_etp.contrib.opentelemetry"."""

from importlib.util import find_spec

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from django_etp.cluster.tracing import set_tracer
from django_etp.events.middleware import surround_connects, surround_events

__all__ = ["OpenTelemetryConfig"]


class OpenTelemetryConfig(AppConfig):
    """``"django_etp.contrib.opentelemetry"`` in ``INSTALLED_APPS``."""

    name = "django_etp.contrib.opentelemetry"
    label = "django_etp_opentelemetry"
    verbose_name = "Event Transport Protocol: traces"

    def ready(self) -> None:
        """Trace from now on, with the tracer provider that the project sets."""
        if find_spec("opentelemetry") is None:
            raise ImproperlyConfigured(
                f"{self.name!r} needs the package opentelemetry-api: pip install 'django-etp[opentelemetry]'."
            )
        from .spans import trace_connect, trace_event
        from .tracing import LayerTracer

        surround_connects(trace_connect)
        surround_events(trace_event)
        set_tracer(LayerTracer())
