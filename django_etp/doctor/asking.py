"""Ask the server at the other end of a connection for its facts, or to send an event to other connections."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from django_etp.client.probe import Probe
from django_etp.exceptions import AckTimeout, ConnectionClosed, EventFailed
from django_etp.protocol.frames import DOCTOR

from .clocks import skew
from .comparison import Process
from .facts import ConnectionFacts, ProcessFacts
from .questions import Question, sign

__all__ = ["Interview", "ask_facts", "ask_to_send"]

_T = TypeVar("_T")
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Interview:
    """The answers of one server process.

    Attributes:
        hub: the id of its hub, which begins the ids of its connections; ``""`` if the server does not send it.
        problem: why there are no facts; ``""`` if there are.
        accepts_key: whether it has accepted the signature of the question; ``None`` if it did not answer.
        skew: how many seconds its clock is ahead; ``None`` if it is not known.
        process: the facts of the process.
        connection: the facts of the connection.
    """

    hub: str
    problem: str = ""
    accepts_key: bool | None = None
    skew: float | None = None
    process: ProcessFacts | None = None
    connection: ConnectionFacts | None = None

    def as_process(self) -> Process:
        """Return the process, for comparisons."""
        return Process(self.hub, self.accepts_key, self.skew, self.process)


async def ask_facts(probe: Probe, nonce: str, clock: Clock, timeout: float) -> Interview:
    """Ask for the facts of the process and of the connection; ``clock`` is that of this process."""
    hub = probe.id.partition(".")[0]
    asked_at = clock()
    try:
        answer = await _ask(probe, Question(asked_at, nonce), timeout)
    except (AckTimeout, ConnectionClosed) as error:
        return Interview(hub, str(error))
    if answer is None:
        return Interview(hub, "the server treats the signed question as an unknown event", accepts_key=False)
    difference = skew(asked_at, clock(), _clock_in(answer))
    process, connection = _read(ProcessFacts, answer.get("process")), _read(ConnectionFacts, answer.get("connection"))
    if process is None or connection is None:
        is_stale = answer.keys() == {"now"}
        problem = "the clocks differ too far" if is_stale else "the server has another version of django_etp"
        return Interview(hub, problem, True, difference)
    return Interview(process.hub, "", True, difference, process, connection)


async def ask_to_send(probe: Probe, nonce: str, to: Iterable[str], clock: Clock, timeout: float) -> str:
    """Let the server send an event with the nonce to connections of these ids; return why it could not, else ``""``."""
    try:
        answer = await _ask(probe, Question(clock(), nonce, tuple(to)), timeout)
    except (AckTimeout, ConnectionClosed) as error:
        return str(error)
    return "the server does not accept the question" if answer is None else str(answer.get("problem", ""))


async def _ask(probe: Probe, question: Question, timeout: float) -> dict[str, Any] | None:
    """Return the content of the answer; ``None`` if the server does not know the question."""
    try:
        answer = await probe.ask(DOCTOR, sign(question), timeout)
        content = json.loads(answer.data)
    except (EventFailed, ValueError):  # a client without extensions gets an empty answer to an unknown event
        return None
    return content if isinstance(content, dict) else None


def _clock_in(answer: dict[str, Any]) -> float:
    process = answer.get("process")
    return float((process if isinstance(process, dict) else answer).get("now", 0.0))


def _read(kind: type[_T], values: object) -> _T | None:
    """Return facts; ``None`` if some are missing, as from another version."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(values, dict) or not values.keys() >= set(names):
        return None
    return kind(**{name: values[name] for name in names})
