"""Inspect the process: its live objects, and the calls of its hooks."""

import asyncio
import gc
import threading
from collections import Counter

from django.http import HttpRequest, HttpResponse, JsonResponse

from django_etp import rooms
from tests.site import misbehaving
from tests.site.exercise import NAMESPACE, aexercise_all, exercise_all


async def process(request: HttpRequest) -> JsonResponse:
    """Count objects that a connection could leave: tasks, futures, our objects, members of rooms, threads."""
    connections, names = {}, {}
    for namespace in ("default", misbehaving.NAMESPACE):
        api = rooms.of(namespace)
        connections[namespace] = len(await api.aconnections())
        names[namespace] = sorted(await api.anames())
    gc.collect()
    ours: Counter[str] = Counter()
    futures = 0
    for thing in gc.get_objects():
        kind = type(thing)
        if str(kind.__module__) in ("django_etp.concurrency.database", "django_etp.concurrency.executor"):
            continue  # threads, of which a few are kept
        if str(kind.__module__).startswith("django_etp."):  # some make it a property
            ours[f"{kind.__module__}.{kind.__qualname__}"] += 1
        elif issubclass(kind, asyncio.Future):
            futures += not issubclass(kind, asyncio.Task) and not thing.done()
    return JsonResponse(
        {
            "connections": connections,
            "background_hubs": [thread.name for thread in threading.enumerate()].count("etp-background"),
            "rooms": names,
            "tasks": len(asyncio.all_tasks()),
            "futures": futures,
            "objects": ours,
            "threads": threading.active_count(),
        }
    )


async def peer_record(request: HttpRequest, name: str) -> JsonResponse:
    """Return the calls of hooks for the peers of this name, in order."""
    return JsonResponse({"record": misbehaving.record.get(name, [])})


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics of all processes that share PROMETHEUS_MULTIPROC_DIR."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return HttpResponse(generate_latest(registry), content_type="text/plain")


def exercise(request: HttpRequest) -> JsonResponse:
    """Do the exercise for the names in the query."""
    return JsonResponse(exercise_all(**request.GET.dict()))


def ask(request: HttpRequest) -> JsonResponse:
    """Ask the connection in the query."""
    answer = rooms.of(NAMESPACE).emit_to_with_ack(request.GET["id"], "ask", timeout=60)
    return JsonResponse({"answer": answer.data})


async def ask_async(request: HttpRequest) -> JsonResponse:
    """Ask the connection in the query."""
    answer = await rooms.of(NAMESPACE).aemit_to_with_ack(request.GET["id"], "ask", timeout=60)
    return JsonResponse({"answer": answer.data})


async def exercise_async(request: HttpRequest) -> JsonResponse:
    """Do the exercise for the names in the query."""
    return JsonResponse(await aexercise_all(**request.GET.dict()))
