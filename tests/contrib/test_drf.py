"""The tokens of Django REST framework, simplejwt and knox: the real packages, with their tables."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone
from knox.models import AuthToken
from rest_framework.authtoken.models import Token
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from django_etp import Connection, on_connect
from django_etp.auth import TokenAuthMiddleware
from django_etp.consumers import EtpConsumer
from django_etp.contrib import drf
from django_etp.testing import EtpCommunicator, HandshakeRejected
from tests.support.tokens import EXTENSIONS, offered

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("etp_registry")]

KEY = "k" * 32


@pytest.fixture(autouse=True)
def _key_of_tokens(settings: Any) -> None:
    settings.SIMPLE_JWT = {"SIGNING_KEY": KEY}


@pytest.fixture
def ada() -> User:
    return User.objects.create(username="ada")


def token_of(user: User, kind: str) -> str:
    match kind:
        case "drf_token":
            return str(Token.objects.create(user=user).key)
        case "simplejwt":
            return str(AccessToken.for_user(user))
        case _:
            return str(AuthToken.objects.create(user)[1])


LIFE = {"drf_token": None, "simplejwt": timedelta(minutes=5), "knox": timedelta(hours=10)}
every_kind = pytest.mark.parametrize("kind", LIFE)


@every_kind
def test_a_token_names_its_user_and_its_expiry(ada: User, kind: str) -> None:
    user, expires_at = getattr(drf, kind)(token_of(ada, kind), {})
    assert user == ada
    life = LIFE[kind]
    if life is None:
        assert expires_at is None
    else:
        assert timedelta(seconds=-5) < expires_at - datetime.now(UTC) - life <= timedelta()


@every_kind
@pytest.mark.parametrize("wrong", ["wrong", "a.b.c", "x" * 8000, "schlüssel", "%00", "-" * 64])
def test_another_token_is_refused(ada: User, kind: str, wrong: str) -> None:
    good = token_of(ada, kind)
    for token in (wrong, good[:-1], good.swapcase(), f"{good[:20]}{wrong}"):
        assert getattr(drf, kind)(token, {}) is None


@every_kind
def test_the_token_of_an_inactive_user_is_refused(ada: User, kind: str) -> None:
    token = token_of(ada, kind)
    User.objects.update(is_active=False)
    assert getattr(drf, kind)(token, {}) is None


@every_kind
def test_the_token_of_a_deleted_user_is_refused(ada: User, kind: str) -> None:
    token = token_of(ada, kind)
    User.objects.all().delete()
    assert getattr(drf, kind)(token, {}) is None


def test_tokens_that_were_deleted_are_refused(ada: User) -> None:
    tokens = {kind: token_of(ada, kind) for kind in ("drf_token", "knox")}
    Token.objects.all().delete()
    AuthToken.objects.all().delete()
    assert [getattr(drf, kind)(token, {}) for kind, token in tokens.items()] == [None, None]


def test_expired_tokens_are_refused(ada: User) -> None:
    token = token_of(ada, "knox")
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert drf.knox(token, {}) is None
    claims = jwt.decode(token_of(ada, "simplejwt"), KEY, ["HS256"])
    assert drf.simplejwt(jwt.encode({**claims, "exp": 1}, KEY), {}) is None
    assert drf.simplejwt(jwt.encode(claims, "w" * 32), {}) is None
    assert drf.simplejwt(str(RefreshToken.for_user(ada)), {}) is None


def test_a_token_of_knox_may_have_no_expiry(ada: User) -> None:
    assert drf.knox(AuthToken.objects.create(ada, expiry=None)[1], {}) == (ada, None)


def test_the_expiry_has_a_time_zone_without_use_tz(ada: User, settings: Any) -> None:
    settings.USE_TZ = False
    answer = drf.knox(token_of(ada, "knox"), {})
    assert answer is not None
    assert answer[1] is not None
    assert answer[1].utcoffset() is not None
    assert timedelta(hours=9) < answer[1] - datetime.now(UTC) <= timedelta(hours=10)


@pytest.mark.usefixtures("etp_communicator")
@every_kind
async def test_clients_log_in_and_renew_with_it(kind: str) -> None:
    ada = await User.objects.acreate(username="ada")
    users: list[Any] = []

    @on_connect
    def note(connection: Connection) -> None:
        users.append(connection.user)

    token = await sync_to_async(token_of)(ada, kind)
    application = TokenAuthMiddleware(EtpConsumer.as_asgi(), authenticate=getattr(drf, kind))
    async with EtpCommunicator(application, subprotocols=[EXTENSIONS, offered(token)]) as client:
        assert ("expires_in" in (await client.expect_event("__hello")).json()) == (kind != "drf_token")
        await client.send_frame(f'__auth||1||{{"token": "{token}"}}')
        assert (await client.receive_frame()).startswith("__ack___auth||1||")
        await client.send_frame('__auth||2||{"token": "wrong"}')
        assert "permission_denied" in await client.receive_frame()
    assert users == [ada]
    with pytest.raises(HandshakeRejected, match="403"):
        await EtpCommunicator(application, subprotocols=[offered("wrong")]).connect()


def test_the_server_imports_none_of_them_and_each_function_its_own_alone() -> None:
    code = """
import sys, django
django.setup()
import django_etp.auth, django_etp.consumers
print("rest_framework" in sys.modules)
sys.modules["knox"] = sys.modules["rest_framework_simplejwt"] = None  # as if they were missing
import django_etp.contrib.drf
"""
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={"DJANGO_SETTINGS_MODULE": "tests.site.settings", "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.stdout == "False\n"
