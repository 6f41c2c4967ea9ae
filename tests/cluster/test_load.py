"""The load of a node: what its publisher holds, and how long its own messages take."""

import asyncio
from typing import Any

from django_etp.cluster.liveness import Liveness
from django_etp.cluster.load import Load, load_of
from django_etp.cluster.messages import Frame
from django_etp.cluster.publisher import Publisher
from tests.support.inprocess import until


async def test_frames_count_until_the_layer_has_taken_them() -> None:
    goes_on = asyncio.Event()

    async def send(group: str, message: dict[str, Any]) -> None:
        await goes_on.wait()

    async def send_to_all(message: dict[str, Any]) -> None: ...

    publisher, liveness = Publisher("hub", send, send_to_all), Liveness(receives_rooms=True)
    assert load_of(publisher, liveness) == Load()
    for text in ("one||0", "three||0"):
        publisher.publish(["etp.room.a"], Frame(text))
    liveness.next_echo(asyncio.get_running_loop().time() - 2)
    load = load_of(publisher, liveness)
    assert (load.frames, load.size) == (2, 14)
    assert 2 <= load.lag < 3
    goes_on.set()
    await until(lambda: load_of(publisher, liveness).frames == 0)
    await publisher.stop()
