"""What a logout, or a change of a user, does where it cannot be told to other processes."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import transaction
from django.test import RequestFactory

from django_etp.auth import receivers
from django_etp.hub.process import process_hub
from django_etp.testing import EtpCommunicator
from tests.support.inprocess import Wire, until
from tests.support.stored import WITH_LOCK, WITHOUT_LOCK, amake_session, cookie, store_class, use_engine
from tests.support.valkey import LAYERS

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture
def frozen_broker(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    """A broker that takes connections and answers nothing, as one that is frozen."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = {"hosts": [f"redis://127.0.0.1:{listener.getsockname()[1]}/0"]}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYERS[request.param], "CONFIG": config}}
        yield


@pytest.mark.usefixtures("frozen_broker")
@pytest.mark.parametrize("frozen_broker", LAYERS, indirect=True)
@pytest.mark.parametrize("where", ["in an event loop", "in a thread"])
async def test_a_logout_that_cannot_be_told_waits_for_nobody_and_is_a_line_of_the_log(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Wire():
        began = time.monotonic()
        if where == "in a thread":
            await asyncio.to_thread(user_logged_out.send, sender=User, request=None, user=User(pk=7))
        else:
            user_logged_out.send(sender=User, request=None, user=User(pk=7))
        assert time.monotonic() - began < 0.3
        await until(lambda: "be notified of a logout or a changed user: LayerUnavailable" in caplog.text)


@pytest.mark.usefixtures("frozen_broker")
@pytest.mark.parametrize("frozen_broker", ["pubsub"], indirect=True)
async def test_many_users_who_change_at_once_are_told_a_few_at_a_time(settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(receivers, "_MAX_UNDER_WAY", 3)
    settings.ETP = {"QUESTION_TIMEOUT": 3.0}
    async with Wire():
        hub = process_hub()
        assert hub is not None
        for pk in [*range(20), *range(20)]:
            user_logged_out.send(sender=User, request=None, user=User(pk=pk))
        await until(lambda: hub in receivers._notices)
        await asyncio.sleep(0)
        assert receivers._notices[hub].under_way == 3
        assert len(receivers._notices[hub].waiting) == 17


@pytest.mark.usefixtures("etp_communicator")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("commits", [True, False])
async def test_a_logout_in_a_transaction_is_told_once_that_is_committed(commits: bool) -> None:
    """Sockets that close write their session: SQLite would fail the transaction that read it before."""
    user = await User.objects.acreate(username="ada")
    key = await amake_session(user)

    def log_out() -> None:
        request = RequestFactory().post("/")
        request.session, request.user = store_class()(key), user
        with suppress(ZeroDivisionError), transaction.atomic():
            logout(request)
            time.sleep(0.2)
            were_open.append(member.disconnect is None)
            if not commits:
                raise ZeroDivisionError

    were_open: list[bool] = []
    async with EtpCommunicator(headers=cookie(key)) as client:
        hub = process_hub()
        assert hub is not None
        [member] = hub.membership.all()
        await sync_to_async(log_out)()
        if commits:
            await client.expect_close(4401)
        else:
            await client.expect_nothing(timeout=0.2)
        assert were_open == [True]


@pytest.mark.usefixtures("etp_communicator")
@pytest.mark.django_db
async def test_a_logout_in_a_test_that_is_rolled_back_is_told_at_once() -> None:
    user = await User.objects.acreate(username="ada")
    key = await amake_session(user)

    def log_out() -> None:
        request = RequestFactory().post("/")
        request.session, request.user = store_class()(key), user
        logout(request)

    async with EtpCommunicator(headers=cookie(key)) as client:
        await sync_to_async(log_out)()
        await client.expect_close(4401)


# A login over another login


def log_in_over(key: str, user: Any) -> None:
    """Log a user in with a request that has the cookie of a session, as a view does."""
    request = RequestFactory().post("/")
    request.COOKIES[settings.SESSION_COOKIE_NAME] = key
    request.session = store_class()(key)
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    request.session.save()


@pytest.mark.usefixtures("etp_communicator")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("engine", [*WITH_LOCK, *WITHOUT_LOCK])
async def test_a_login_over_another_login_closes_the_sockets_of_the_old_user(
    engine: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)
    ann, bob = [await User.objects.acreate(username=name) for name in ("ann", "bob")]
    key, other = await amake_session(ann), await amake_session(ann)
    async with EtpCommunicator(headers=cookie(key)) as client, EtpCommunicator(headers=cookie(other)) as device:
        await sync_to_async(log_in_over)(key, bob)
        assert (await client.expect_close(4401)).reason == "logged out"
        await device.expect_nothing(timeout=0.1)


@pytest.mark.usefixtures("etp_communicator")
@pytest.mark.django_db(transaction=True)
async def test_a_login_that_keeps_the_session_closes_nothing() -> None:
    ann, bob = [await User.objects.acreate(username=name) for name in ("ann", "bob")]
    of_ann, of_nobody, of_bob = await amake_session(ann), await amake_session(), await amake_session(bob)
    async with (
        EtpCommunicator(headers=cookie(of_ann)) as client,
        EtpCommunicator(headers=cookie(of_nobody)) as anonymous,
        EtpCommunicator(headers=cookie(of_bob)) as other,
    ):
        await sync_to_async(log_in_over)(of_ann, ann)
        await sync_to_async(log_in_over)(of_nobody, bob)
        await sync_to_async(log_in_over)("a" * 32, bob)  # its cookie is of a session that has expired
        # A login by token, as django-rest-knox makes it, sends the signal and leaves the session alone.
        request = RequestFactory().post("/")
        request.COOKIES[settings.SESSION_COOKIE_NAME] = of_bob
        request.session = store_class()(of_bob)
        await sync_to_async(user_logged_in.send)(sender=User, request=request, user=ann)
        request.session._session_key = None  # as if its store were out of reach
        await sync_to_async(user_logged_in.send)(sender=User, request=request, user=ann)
        for each in (client, anonymous, other):
            await each.expect_nothing(timeout=0.1)


@pytest.mark.usefixtures("etp_communicator")
@pytest.mark.django_db(transaction=True)
async def test_the_same_user_with_a_new_password_may_come_back_after_a_login() -> None:
    ann = await User.objects.acreate(username="ann")
    key = await amake_session(ann)
    async with EtpCommunicator(headers=cookie(key)) as client:
        ann.set_password("new")  # not saved: that would close the socket, too
        await sync_to_async(log_in_over)(key, ann)
        assert (await client.expect_close(4401)).reason == "the session ended"


@pytest.mark.usefixtures("etp_communicator")
@pytest.mark.django_db(transaction=True)
async def test_a_login_closes_no_sockets_if_ends_of_sessions_do_not(settings: Any) -> None:
    settings.ETP = {"CLOSE_ON_LOGOUT": False}
    ann, bob = [await User.objects.acreate(username=name) for name in ("ann", "bob")]
    key = await amake_session(ann)
    async with EtpCommunicator(headers=cookie(key)) as client:
        await sync_to_async(log_in_over)(key, bob)
        await client.expect_nothing(timeout=0.1)
