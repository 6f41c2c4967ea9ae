"""The facts of a process and of a connection."""

import os
import socket
from typing import Any

import pytest

from django_etp.doctor.facts import VERSION, ConnectionFacts, facts_of_connection, facts_of_process, fingerprint
from django_etp.hub.process import serving_hub
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry")


class Session:
    session_key = "abc"


async def facts_of(**scope: Any) -> ConnectionFacts:
    async with Wire(**scope):
        (member,) = serving_hub().membership.members("default", None)
        return facts_of_connection(member)  # type: ignore[arg-type]


async def test_a_process_tells_its_hub_and_its_version() -> None:
    async with Wire():
        facts = facts_of_process(serving_hub(), "n")
    assert (facts.hub, facts.version, facts.spans_processes) == (serving_hub().id, VERSION, False)
    assert facts.name == f"process {os.getpid()} on {socket.gethostname()}"


async def test_settings_are_compared_by_a_fingerprint(settings: Any) -> None:
    async with Wire():
        hub = serving_hub()
        first = facts_of_process(hub, "n").settings
        assert facts_of_process(hub, "n").settings == first
        assert facts_of_process(hub, "another").settings != first
        settings.ETP = {"MAX_ROOMS": 7}
        assert facts_of_process(hub, "n").settings != first


def test_keys_are_compared_by_a_fingerprint(settings: Any) -> None:
    first = fingerprint("n")
    assert fingerprint("n") == first
    assert fingerprint("another") != first
    settings.SECRET_KEY = "another"
    assert fingerprint("n") != first


async def test_the_session_is_found_if_it_is_that_of_the_cookie() -> None:
    cookies = [(b"host", b"here"), (b"cookie", b"a=b; sessionid=abc")]
    facts = await facts_of(headers=cookies, session=Session())
    assert (facts.host, facts.has_session, facts.has_cookie, facts.is_stored) == ("here", True, True, True)
    facts = await facts_of(headers=[(b"cookie", b"sessionid=expired")], session=Session())
    assert (facts.has_cookie, facts.is_stored) == (True, False)
    facts = await facts_of(headers=[(b"cookie", b"other=1")], session=Session())
    assert (facts.has_cookie, facts.is_stored) == (False, False)


async def test_a_connection_without_middleware_has_neither_session_nor_user() -> None:
    async with Wire() as wire:
        (member,) = serving_hub().membership.members("default", None)
        del wire.scope["user"]
        facts = facts_of_connection(member)  # type: ignore[arg-type]
    assert (facts.has_session, facts.has_user, facts.is_logged_in) == (False, False, False)
