"""A room with a short history, for clients that come and go, and an event that sends to it."""

from django_etp import Connection, Event, History, etp_event, etp_room, rooms


@etp_room("returns/<slug:name>", history=History(size=100, seconds=4))
async def returns(connection: Connection, name: str) -> None: ...


@etp_event("send")
async def send(connection: Connection, event: Event) -> None:
    await rooms.aemit("returns/a", "said", event.data)
