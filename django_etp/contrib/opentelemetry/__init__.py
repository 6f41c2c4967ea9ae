"""OpenTelemetry traces of events, and of what they cause in other processes: an app for ``INSTALLED_APPS``."""
