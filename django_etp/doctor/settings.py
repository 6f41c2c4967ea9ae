"""The messages of Django's system checks about django_etp."""

from django.core.checks import ERROR, run_checks

from .findings import Finding, failure, ok, warning

__all__ = ["check_settings"]


def check_settings() -> list[Finding]:
    """Run the system checks, and return a finding for each message about django_etp that is not silenced."""
    expected = "the system checks of django_etp find nothing"
    messages = [
        message for message in run_checks() if str(message.id).startswith("django_etp.") and not message.is_silenced()
    ]
    if not messages:
        return [ok("settings", expected, "they find nothing")]
    return [
        (failure if message.level >= ERROR else warning)(
            "settings", expected, f"{message.id}: {message.msg}", str(message.hint or "See the documentation.")
        )
        for message in messages
    ]
