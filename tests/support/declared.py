"""Clients that join declared rooms, and the codes that they are refused with."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from django_etp import EventFailed
from django_etp.testing import EtpCommunicator


@asynccontextmanager
async def guest(**options: Any) -> AsyncIterator[EtpCommunicator]:
    """Connect a client that speaks `etp.ext.v2`, and take its greeting."""
    async with EtpCommunicator(subprotocols=["etp.ext.v2"], **options) as client:
        await client.expect_event("__hello")
        yield client


async def refused(client: EtpCommunicator, room: str, code: str) -> EventFailed:
    """Check that the client is refused with this code; return the failure."""
    with pytest.raises(EventFailed) as caught:
        await client.join(room)
    assert caught.value.code == code
    return caught.value


def join_frame(room: object, number: int) -> str:
    return f"__join||{number}||{json.dumps({'room': room})}"
