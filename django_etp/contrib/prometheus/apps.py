"""The app of the metrics, which is in INSTALLED_APPS as "django_etp.contrib.prometheus"."""

from importlib.util import find_spec

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from django_etp.server.companions import register_companion

__all__ = ["PrometheusConfig"]


class PrometheusConfig(AppConfig):
    """``"django_etp.contrib.prometheus"`` in ``INSTALLED_APPS``."""

    name = "django_etp.contrib.prometheus"
    label = "django_etp_prometheus"
    verbose_name = "Event Transport Protocol: metrics"

    def ready(self) -> None:
        """Count from now on, in the library's default registry."""
        if find_spec("prometheus_client") is None:
            raise ImproperlyConfigured(
                f"{self.name!r} needs the package prometheus-client: pip install 'django-etp[prometheus]'."
            )
        from .receivers import connect_receivers
        from .sampling import Sampler

        connect_receivers()
        register_companion(Sampler())
