"""Handlers of a separate namespace that fail in the way that the event's data names."""

import asyncio

from django.core.exceptions import PermissionDenied

from django_etp import Connection, Event, EventFailed, etp_event

NAMESPACE = "failing"


@etp_event("fail", namespace=NAMESPACE)
async def fail(connection: Connection, event: Event) -> object:
    match event.data:
        case "handler_error":
            raise LookupError("a secret")
        case "permission_denied":
            raise PermissionDenied("This is not yours.")
        case "rate_limited":
            raise EventFailed("rate_limited", "Not so fast.")
        case "no answer":
            return object()  # which cannot be a payload
    return event.json()


@etp_event("fail in a thread", namespace=NAMESPACE)
def fail_in_a_thread(connection: Connection, event: Event) -> object:
    return asyncio.run(fail(connection, event))


@etp_event("ask", namespace=NAMESPACE)
async def ask(connection: Connection, event: Event) -> str:
    """Send the client a question, and answer with the code of its failure."""
    try:
        answer = await connection.aemit_with_ack("question", event.data)
    except EventFailed as failed:
        return f"{failed.code}: {failed.message}"
    return f"got: {answer.data}"


@etp_event("wait", namespace=NAMESPACE)
async def wait(connection: Connection, event: Event) -> str:
    """Wait for an answer of the client until its connection ends."""
    return (await connection.aemit_with_ack("never", timeout=3600)).data
