"""What a logout, or a change of a user, does where it cannot be told to other processes."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.test import RequestFactory

from django_etp.auth import receivers
from django_etp.hub.process import process_hub
from django_etp.testing import EtpCommunicator
from tests.support.inprocess import Wire, until
from tests.support.stored import amake_session, cookie, store_class
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
