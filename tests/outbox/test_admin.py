"""The outbox in the admin."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from django_etp.outbox.models import OutboxEvent
from tests.support.outbox import row

pytestmark = pytest.mark.urls("tests.support.admin_urls")

PAGE = "/admin/django_etp_outbox/outboxevent/"


@pytest.fixture(autouse=True)
def events(db: Any) -> None:
    row("arrives").save()
    row("refused", "lobby", "game", data="secret", failed_at=timezone.now(), attempts=20, error="too large").save()
    row("tried", attempts=2, error="refused", retry_at=timezone.now()).save()


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("staff"))
    return client


def test_the_list_shows_events_with_their_states(staff: Client) -> None:
    page = staff.get(PAGE).content.decode()
    for text in ("arrives", "refused", "tried", "lobby, game", "too large", "is tried again", "waits", "failed"):
        assert text in page, text
    for state, count in {"waiting": 2, "retried": 1, "failed": 1}.items():
        assert f"{count} outbox event" in staff.get(f"{PAGE}?state={state}").content.decode()


def test_an_event_can_be_read_without_its_data_and_not_changed(staff: Client) -> None:
    event = OutboxEvent.objects.get(event="refused")
    page = staff.get(f"{PAGE}{event.pk}/change/").content.decode()
    assert "too large" in page
    assert "secret" not in page
    assert 'name="_save"' not in page
    assert staff.get(f"{PAGE}add/").status_code == 403


def test_what_failed_can_be_sent_again_and_nothing_else(staff: Client) -> None:
    ids = list(OutboxEvent.objects.values_list("pk", flat=True))
    answer = staff.post(PAGE, {"action": "retry_failed", "_selected_action": ids}, follow=True)
    assert "1 events will be sent again." in answer.content.decode()
    assert OutboxEvent.objects.get(event="refused").failed_at is None
    assert OutboxEvent.objects.get(event="tried").attempts == 2


def test_a_user_who_may_only_look_has_no_action(client: Client) -> None:
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_outboxevent"))
    client.force_login(user)
    page = client.get(PAGE).content.decode()
    assert "arrives" in page
    assert "retry_failed" not in page
