"""The server processes of contenders, started on first use and kept for later workloads."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contenders import Contender

from .broker import start_broker
from .databases import DATABASES, migrate
from .servers import CLIENT_CORE, Process, Server, server_core, start_server

__all__ = ["LAYERS", "CallSite", "Site", "Stage"]

LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "in memory": ("channels.layers.InMemoryChannelLayer", {}),
    "RedisPubSubChannelLayer": ("channels_redis.pubsub.RedisPubSubChannelLayer", {}),
    # The capacity that the check django_etp.W003 requires. The default of 100 makes the layer drop messages of a burst.
    "RedisChannelLayer": ("channels_redis.core.RedisChannelLayer", {"capacity": 20_000}),
}


@dataclass(frozen=True, slots=True)
class Site:
    """One contender's servers."""

    contender: Contender
    servers: list[Server] = field(default_factory=list)

    @property
    def processes(self) -> list[Process]:
        """The servers' processes."""
        return [server.process for server in self.servers]


@dataclass(frozen=True, slots=True)
class CallSite:
    """A process that sends, and the site that counts the events.

    Attributes:
        kind: the call; see contenders/caller.py.
        environment: variables with the layer's settings.
        receiver: the site of the room's only member; ``None`` without one.
    """

    kind: str
    environment: Mapping[str, str]
    receiver: Site | None


class Stage:
    """All sites of a run, which end with the ``with`` block."""

    def __init__(self, database: str = ":memory:") -> None:
        self._stack = ExitStack()
        self._sites: dict[Any, Site] = {}
        self._database = database
        self._broker = ""
        self._databases: dict[tuple[str, str], str] = {}

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *reason: object) -> None:
        self.clear()

    def site(
        self,
        contender: Contender,
        kind: str,
        *,
        layer: str = "in memory",
        database: str = "",
        history: str = "",
        processes: int = 1,
        twin: int = 0,
        is_beside_client: bool = False,
    ) -> Site:
        """Return a contender's servers; each ``twin`` is a separate site.

        ``database``: it has durable events in this database, one of DATABASES.

        ``history``: where histories are; see environment().

        ``is_beside_client``: run them on the load client's core, and leave the servers' cores free.
        """
        key = contender, kind, layer, database, history, processes, twin, is_beside_client
        if key not in self._sites:
            env = self.environment(layer, database, history)
            self._sites[key] = Site(
                contender,
                [
                    self._stack.enter_context(start_server(kind, contender.application, core, env))
                    for core in (CLIENT_CORE if is_beside_client else server_core(each) for each in range(processes))
                ],
            )
        return self._sites[key]

    def environment(self, layer: str, database: str = "", history: str = "") -> dict[str, str]:
        """Return environment variables with the settings of a layer, and of a database with durable events.

        ``history``: where histories are, one of DATABASES or "Redis", which is the broker; by default in memory.
        """
        env = {"BENCHMARK_DATABASE": self._database}
        if database:
            env["BENCHMARK_OUTBOX"] = self._start_database("BENCHMARK_OUTBOX", database)
        if history == "Redis":
            env["BENCHMARK_HISTORY"] = json.dumps(
                {"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": {"url": self._start_broker()}}
            )
        elif history:
            env["BENCHMARK_HISTORY"] = json.dumps({"BACKEND": "django_etp.history.DatabaseHistory"})
            env["BENCHMARK_HISTORY_DATABASE"] = self._start_database("BENCHMARK_HISTORY_DATABASE", history)
        if layer == "in memory":
            return env
        broker = self._start_broker()
        host = {"address": broker, "socket_timeout": 8, "socket_connect_timeout": 2}
        kind, options = LAYERS[layer]
        backend = {"BACKEND": kind, "CONFIG": {"hosts": [host], **options}}
        return {**env, "BENCHMARK_LAYER": json.dumps(backend), "BENCHMARK_BROKER": broker}

    def _start_broker(self) -> str:
        if not self._broker:
            self._broker = self._stack.enter_context(start_broker()).url
        return self._broker

    def _start_database(self, variable: str, database: str) -> str:
        key = variable, database
        if key not in self._databases:
            settings = json.dumps(self._stack.enter_context(DATABASES[database]()))
            migrate({variable: settings})
            self._databases[key] = settings
        return self._databases[key]

    def clear(self) -> None:
        """End all sites."""
        self._sites.clear()
        self._databases.clear()
        self._broker = ""
        self._stack.close()
