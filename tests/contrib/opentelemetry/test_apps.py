"""The app of the traces, with and without its library."""

import pytest

from tests.contrib.prometheus.test_apps import run


@pytest.mark.parametrize(
    ("hidden", "stderr"), [(["opentelemetry"], "pip install 'django-etp[opentelemetry]'"), ([], "")]
)
def test_it_names_the_extra_that_is_missing(hidden: list[str], stderr: str) -> None:
    outcome = run(hidden, app="django_etp.contrib.opentelemetry", module="opentelemetry.trace")
    assert stderr in outcome.stderr
    assert (outcome.stdout == "True\n") == (not hidden)
