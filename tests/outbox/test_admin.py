"""The outbox in the admin of a project that has one."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.servers import ROOT

SETTINGS = """
from tests.settings import *
INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.messages", "django.contrib.admin"]
MIDDLEWARE = [*MIDDLEWARE, "django.contrib.messages.middleware.MessageMiddleware"]
ROOT_URLCONF = "project_urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
STATIC_URL = "static/"
"""
URLS = """
from django.contrib import admin
from django.urls import path
urlpatterns = [path("admin/", admin.site.urls)]
"""
TESTS = """
import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from django_etp.outbox.models import OutboxEvent
from tests.support.outbox import row

PAGE = "/admin/django_etp_outbox/outboxevent/"


@pytest.fixture(autouse=True)
def events(db):
    row("arrives").save()
    row("refused", "lobby", "game", data="secret", failed_at=timezone.now(), attempts=20, error="too large").save()
    row("tried", attempts=2, error="refused", retry_at=timezone.now()).save()


def test_the_list_shows_events_with_their_states(admin_client):
    page = admin_client.get(PAGE).content.decode()
    for text in ("arrives", "refused", "tried", "lobby, game", "too large", "is tried again", "waits", "failed"):
        assert text in page, text
    for state, count in {"waiting": 2, "retried": 1, "failed": 1}.items():
        assert f"{count} outbox event" in admin_client.get(f"{PAGE}?state={state}").content.decode()


def test_an_event_can_be_read_without_its_data_and_not_changed(admin_client):
    event = OutboxEvent.objects.get(event="refused")
    page = admin_client.get(f"{PAGE}{event.pk}/change/").content.decode()
    assert "too large" in page
    assert "secret" not in page
    assert 'name="_save"' not in page
    assert admin_client.get(f"{PAGE}add/").status_code == 403


def test_what_failed_can_be_sent_again_and_nothing_else(admin_client):
    ids = list(OutboxEvent.objects.values_list("pk", flat=True))
    answer = admin_client.post(PAGE, {"action": "retry_failed", "_selected_action": ids}, follow=True)
    assert "1 events will be sent again." in answer.content.decode()
    assert OutboxEvent.objects.get(event="refused").failed_at is None
    assert OutboxEvent.objects.get(event="tried").attempts == 2


def test_a_user_who_may_only_look_has_no_action(client):
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_outboxevent"))
    client.force_login(user)
    page = client.get(PAGE).content.decode()
    assert "arrives" in page
    assert "retry_failed" not in page
"""


def test_the_outbox_is_in_the_admin(tmp_path: Path) -> None:
    files = {"project_settings.py": SETTINGS, "project_urls.py": URLS, "test_project.py": TESTS}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
