"""The cookie of a session that was made during the handshake rides on the accept."""

from http.cookies import SimpleCookie
from typing import Any

import pytest
from channels.auth import login
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from django_etp import Connection, on_connect
from django_etp.sessions.cookies import can_set_cookie
from django_etp.testing import EtpCommunicator
from tests.support.inprocess import recorded
from tests.support.stored import amake_session, cookie

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("etp_registry", "etp_communicator"),
]


def put_data() -> None:
    """Let each connection put something into its data before the accept."""

    @on_connect
    async def put(connection: Connection) -> None:
        connection.data["name"] = "Ann"


async def test_a_session_is_made_before_the_accept_and_its_cookie_rides_on_it() -> None:
    put_data()
    application, accepts = recorded()
    async with EtpCommunicator(application):
        [(name, value)] = accepts[0]["headers"]
        session = await Session.objects.aget()
        assert name == b"Set-Cookie"
        assert value.startswith(f"sessionid={session.session_key};".encode())
        assert b"HttpOnly" in value
        assert b"SameSite=Lax" in value
        assert b"Max-Age=1209600" in value


async def test_the_cookie_of_a_session_that_has_a_new_key_before_the_accept_rides_on_it() -> None:
    ada = await User.objects.acreate(username="ada", last_login=None)

    @on_connect
    async def log_in(connection: Connection) -> None:
        assert connection.session is not None
        await login(connection.scope, ada, backend="django.contrib.auth.backends.ModelBackend")

    key = await amake_session(cart=[1])
    application, accepts = recorded()
    async with EtpCommunicator(application, headers=cookie(key)):
        [(_, value)] = accepts[0]["headers"]
        session = await Session.objects.aget()
        assert session.session_key != key
        assert value.startswith(f"sessionid={session.session_key};".encode())


@pytest.mark.parametrize(
    ("same_site", "said"), [(False, None), (None, None), ("Lax", "Lax"), ("Strict", "Strict"), ("None", "None")]
)
async def test_the_cookie_of_a_new_session_says_of_other_sites_what_the_settings_say(
    same_site: Any, said: str | None, settings: Any
) -> None:
    settings.SESSION_COOKIE_SAMESITE = same_site
    put_data()
    application, accepts = recorded()
    async with EtpCommunicator(application):
        [(name, value)] = accepts[0]["headers"]
        [cookie] = SimpleCookie(value.decode()).values()
        assert name == b"Set-Cookie"
        assert cookie.value == (await Session.objects.aget()).session_key
        assert (cookie["samesite"] or None) == said


@pytest.mark.parametrize(
    ("asgi", "can"),
    [
        ({"spec_version": "2.1"}, True),
        ({"spec_version": "2.10"}, True),
        ({"spec_version": "3.0"}, True),
        ({"spec_version": "2.0"}, False),
        ({"spec_version": "two"}, False),
        ({"version": "3.0"}, False),
    ],
)
def test_servers_since_2_1_of_the_specification_send_headers(asgi: dict[str, str], can: bool) -> None:
    assert can_set_cookie({"asgi": asgi}) is can


def test_a_server_that_names_no_version_sends_no_headers() -> None:
    assert not can_set_cookie({})
