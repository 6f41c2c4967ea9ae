"""Count lost writes while four sockets and a browser write one session at the same time.

Also a program: `python -m tests.support.session_hammer ENGINE [ROUNDS [PAUSE]]` starts a uvicorn and prints how many of
the browser's writes a session engine lost to the sockets. Each socket pauses for PAUSE seconds between its writes. The
cache is a Valkey server.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.servers import start_server
from tests.support.valkey import start_valkey
from tests.support.visitors import Socket, Visitor, make_sqlite, settings_for, sqlite

SOCKETS = 4


@dataclass(frozen=True)
class Outcome:
    """The content of the session at the end, and the expected one."""

    wrote: int
    lost_by_browser: int
    lost_by_sockets: int
    session: Mapping[str, Any]


async def hammer(visitor: Visitor, rounds: int, *, pause: float = 0.0) -> Outcome:
    """Let sockets count in their data and in keys of the session while the browser fills its cart."""
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(visitor.socket()) for _ in range(SOCKETS)]
        ids = [await socket.ask("id") for socket in sockets]

        async def count(socket: Socket, number: int) -> None:
            while not is_done.is_set():
                await socket.ask("count", f"socket{number}")
                await asyncio.sleep(pause)

        async def buy() -> None:
            try:
                for number in range(rounds):
                    await visitor.post("buy", number=number)
            finally:
                is_done.set()

        is_done = asyncio.Event()
        await asyncio.gather(buy(), *(count(socket, number) for number, socket in enumerate(sockets)))
        # A request may have saved its old copy over what a socket wrote last; the next write brings it back.
        last = await asyncio.gather(*(socket.ask("count", f"socket{number}") for number, socket in enumerate(sockets)))
        session = await visitor.post("session")
        held = [session.get("etp", {}).get(id, {}).get("count", 0) for id in ids]
        keys = [session.get(f"socket{number}", 0) for number in range(SOCKETS)]
        lost = sum((held[n] != last[n]) + (keys[n] != last[n]) for n in range(SOCKETS))
        return Outcome(rounds, rounds - len(session.get("cart", [])), lost, session)


async def logged_in(server: Any) -> Visitor:
    """Return a browser with a new user logged in."""
    visitor = Visitor(server)
    name = uuid4().hex
    await visitor.post("sign_up", username=name)
    await visitor.log_in(name)
    return visitor


async def main(engine: str, rounds: str = "500", pause: str = "0") -> None:
    with tempfile.TemporaryDirectory() as folder, start_valkey() as valkey:
        database = Path(folder) / "db.sqlite3"
        make_sqlite(database)
        address = f"redis://127.0.0.1:{valkey.port}"
        caches = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": address}}
        settings = settings_for(sqlite(database), engine, SESSION_FILE_PATH=folder, CACHES=caches)
        with start_server("uvicorn", settings=settings) as server:
            outcome = await hammer(await logged_in(server), int(rounds), pause=float(pause))
    print(f"{engine}: {outcome.lost_by_browser} of {outcome.wrote} writes of the browser were lost.")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
