"""ASGI applications without a framework, for tests of the server's own behaviour; the path chooses one."""

import asyncio
import json
from collections import defaultdict
from typing import Any

Message = dict[str, Any]

# What the applications have received and noticed, by the name in the query string. GET /record/?name returns it.
_records: defaultdict[str, list[Any]] = defaultdict(list)
_released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


async def application(scope: Message, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
    elif scope["type"] == "http":
        body = json.dumps(_records[scope["query_string"].decode()]).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
    else:
        path = scope["path"].removeprefix(scope["root_path"])
        await _SITES[path.split("/")[1]](scope, receive, send)


async def _lifespan(scope: Message, receive: Any, send: Any) -> None:
    while (await receive())["type"] == "lifespan.startup":
        scope["state"]["started"] = True
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def echo(scope: Message, receive: Any, send: Any) -> None:
    """Send back each message as it is."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def show_scope(scope: Message, receive: Any, send: Any) -> None:
    """Send the scope."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(scope, default=lambda value: value.decode("latin-1"))})
    await receive()


async def accept(scope: Message, receive: Any, send: Any) -> None:
    """Accept with a subprotocol and headers."""
    await receive()
    headers = [(b"X-Answer", b"42"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
    await send({"type": "websocket.accept", "subprotocol": "second", "headers": headers})
    await receive()


async def refuse(scope: Message, receive: Any, send: Any) -> None:
    """Refuse, and record what comes then."""
    await receive()
    await send({"type": "websocket.close", "code": 4403})
    await _record_rest(scope, receive, send)


async def deny(scope: Message, receive: Any, send: Any) -> None:
    """Answer with a response of its own."""
    await receive()
    headers = [(b"Content-Type", b"text/html"), (b"X-Answer", b"42")]
    await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"<p>I am ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"a teapot"})
    await _record_rest(scope, receive, send)


async def fail(scope: Message, receive: Any, send: Any) -> None:
    """Raise before the handshake is answered."""
    await receive()
    raise LookupError("on purpose")


async def leave(scope: Message, receive: Any, send: Any) -> None:
    """Return before the handshake is answered."""
    await receive()


async def fail_later(scope: Message, receive: Any, send: Any) -> None:
    """Raise after the handshake."""
    await receive()
    await send({"type": "websocket.accept"})
    raise LookupError("on purpose")


async def leave_later(scope: Message, receive: Any, send: Any) -> None:
    """Return after the handshake, without a close."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "bye"})


async def misuse(scope: Message, receive: Any, send: Any) -> None:
    """Send what is not allowed in each state, and record the errors."""
    record = _records[scope["query_string"].decode()]

    async def attempt(message: Message) -> None:
        try:
            await send(message)
        except Exception as error:
            record.append([message["type"], type(error).__name__, isinstance(error, OSError)])

    await receive()
    await attempt({"type": "websocket.send", "text": "too early"})
    await attempt({"type": "websocket.http.response.start", "status": 9})
    await send({"type": "websocket.accept"})
    await attempt({"type": "websocket.accept"})
    await send({"type": "websocket.send"})
    await send({"type": "websocket.send", "bytes": None, "text": "a text"})
    await send({"type": "websocket.close", "code": 3000})
    await attempt({"type": "websocket.send", "text": "too late"})
    await attempt({"type": "websocket.close"})


async def close(scope: Message, receive: Any, send: Any) -> None:
    """Close with a code and a reason; without, if there is a query string."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "last"})
    message: Message = {"type": "websocket.close"}
    await send(message if scope["query_string"] else message | {"code": 4001, "reason": "gründlich"})
    await receive()


async def record(scope: Message, receive: Any, send: Any) -> None:
    """Accept and record all that comes."""
    await receive()
    await send({"type": "websocket.accept"})
    await _record_rest(scope, receive, send)


async def record_unanswered(scope: Message, receive: Any, send: Any) -> None:
    """Answer nothing, and record what comes, the beginning included."""
    _records[scope["query_string"].decode()].append((await receive())["type"])
    await _record_rest(scope, receive, send)


async def _record_rest(scope: Message, receive: Any, send: Any) -> None:
    record = _records[scope["query_string"].decode()]
    message: Message = {}
    while message.get("type") != "websocket.disconnect":
        message = await receive()
        record.append([message["type"], message.get("code"), message.get("reason"), message.get("text")])
    try:
        await send({"type": "websocket.send", "text": "too late"})
    except Exception as error:
        record.append(isinstance(error, OSError))


async def flood(scope: Message, receive: Any, send: Any) -> None:
    """Send 1,000 messages of 64 KiB, and record how many of them the server has taken."""
    record = _records[scope["query_string"].decode()]
    await receive()
    await send({"type": "websocket.accept"})
    try:
        for number in range(1000):
            await send({"type": "websocket.send", "bytes": bytes(65_536)})
            record[:] = [number]
    except OSError:
        record[:] = ["gone"]


async def ignore(scope: Message, receive: Any, send: Any) -> None:
    """Receive nothing until release() is called with the same name, then record how many bytes came."""
    await receive()
    await send({"type": "websocket.accept"})
    name = scope["query_string"].decode()
    await _released[name].wait()
    record = _records[name]
    while (message := await receive())["type"] == "websocket.receive":
        record[:] = [len(message["bytes"]) + sum(record)]


async def release(scope: Message, receive: Any, send: Any) -> None:
    """Let ignore() go on."""
    await receive()
    _released[scope["query_string"].decode()].set()
    await send({"type": "websocket.close"})


_SITES = {
    site.__name__.replace("_", "-"): site
    for site in (
        *(echo, show_scope, accept, refuse, deny, fail, leave, fail_later, leave_later, misuse),
        *(close, record, record_unanswered, flood, ignore, release),
    )
}
