"""The applications that are measured."""

from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.harness.wire import ENGINE_IO, ETP, JSON, Dialect

__all__ = [
    "BARE",
    "BARE_IN_STACK",
    "CHANNELS",
    "CHANNELS_JSON",
    "ETP_ALONE",
    "ETP_FROZEN",
    "ETP_IN_STACK",
    "ETP_TYPED",
    "SOCKET_IO",
    "Contender",
]


@dataclass(frozen=True, slots=True)
class Contender:
    """A server application.

    Attributes:
        name: its name in the table.
        application: the import path for servers.
        dialect: the protocol of its clients.
        needs: packages, with spaces between them; without these the contender is left out.
    """

    name: str
    application: str
    dialect: Dialect = ETP
    needs: str = "asyncio"

    @property
    def is_installed(self) -> bool:
        """Whether the needed packages are installed."""
        return all(find_spec(package) is not None for package in self.needs.split())


BARE = Contender("bare ASGI", "benchmarks.contenders.bare:application")
BARE_IN_STACK = Contender("bare ASGI within AuthMiddlewareStack", "benchmarks.contenders.site.asgi:bare_in_stack")
ETP_IN_STACK = Contender("django_etp", "benchmarks.contenders.site.asgi:etp")
ETP_ALONE = Contender("django_etp without AuthMiddlewareStack", "benchmarks.contenders.site.asgi:etp_alone")
ETP_FROZEN = Contender(
    "django_etp without AuthMiddlewareStack, after gc.freeze()", "benchmarks.contenders.site.frozen:etp_alone"
)
ETP_TYPED = Contender(
    "django_etp with typed handlers", "benchmarks.contenders.site.typed:etp", needs="pydantic msgspec"
)
CHANNELS = Contender("Channels AsyncWebsocketConsumer", "benchmarks.contenders.site.asgi:channels_text")
CHANNELS_JSON = Contender("Channels AsyncJsonWebsocketConsumer", "benchmarks.contenders.site.asgi:channels_json", JSON)
SOCKET_IO = Contender("python-socketio", "benchmarks.contenders.socket_io:application", ENGINE_IO, needs="socketio")
