"""What the rooms API asks of hubs: a question for each call, and how the answers of many become one.

Rules kept here:

- What callers pass is checked when the question is made: nobody is asked what cannot be asked.
- A question about one connection goes to the hub that its id names.
- What is no answer to the question, from another version or a forger, is logged and counts as none.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from .actions import read_event, read_infos, read_reply
from .closing import check_close
from .conf import ack_timeout, get_settings, question_timeout
from .data import ConnectionData, from_json
from .envelope import Malformed
from .exceptions import AckTimeout, ConnectionClosed, EtpError, EventFailed, IncompleteAnswer
from .groups import check_can_join, room_name, room_names
from .hub import Hub, hub_of
from .inbox import complain
from .members import ConnectionInfo, Member, RoomReply, check_id, id_of
from .payload import to_frame, to_text
from .protocol import Event

__all__ = ["RoomQuestion"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RoomQuestion(Generic[_T]):
    """Something that hubs are asked, and how their answers become one.

    A question to one hub is about one of its connections; ``silence`` makes the error where that hub does not answer.
    """

    action: str
    arguments: tuple[Any, ...]
    timeout: float
    merge: Callable[[list[Any]], _T]
    hub: str | None = None
    silence: Callable[[str], EtpError] = lambda text: IncompleteAnswer(text, answer=None)

    async def ask(self, hub: Hub, namespace: str) -> _T:
        """Ask through a hub, and return what the answers amount to.

        Raises:
            IncompleteAnswer: a process gave no answer, or none that can be read; ``answer`` is what the others said.
            LayerUnavailable: the other processes could not be asked.
        """
        try:
            answers = await hub.ask(self.hub, self.action, namespace, *self.arguments, timeout=self.timeout)
        except IncompleteAnswer as error:
            answers = cast(list[Any], error.answer)
            if self.hub is None:
                raise IncompleteAnswer(str(error), answer=self._read(answers)) from None
            # It is about one connection: who has that has answered, or nobody has.
            if all(answer is None for answer in answers):
                raise self.silence(str(error)) from None
        return self._read(answers)

    def _read(self, answers: list[Any]) -> _T:
        try:
            return self.merge(answers)
        except _UNREADABLE as error:
            text = f"an answer to {self.action!r} cannot be read: {type(error).__name__}: {error}"
            complain(Malformed(text))
            readable = [answer for answer in answers if self._can_read(answer)]
            raise IncompleteAnswer(f"Of {len(answers)} answers, {text}", answer=self.merge(readable)) from error

    def _can_read(self, answer: object) -> bool:
        try:
            self.merge([answer])
        except _UNREADABLE:
            return False
        except EtpError:
            pass  # it says that there is nothing
        return True


_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, OverflowError)


# To members


def replies(
    room_or_rooms: str | Iterable[str], event: str, data: object, timeout: float | None
) -> RoomQuestion[list[RoomReply]]:
    """Ask all members of rooms for an answer to an event."""
    seconds = ack_timeout(timeout)
    limit = seconds + get_settings().question_timeout

    def the_replies(answers: list[Any]) -> list[RoomReply]:
        return [read_reply(reply) for replies in answers for reply in replies]

    return _question("ask_rooms", limit, the_replies, room_names(room_or_rooms), event, _text(event, data), seconds)


def reply(connection_id: str, event: str, data: object, timeout: float | None) -> RoomQuestion[Event]:
    """Ask one connection for an answer to an event."""
    connection_id = check_id(connection_id)
    seconds = ack_timeout(timeout)
    late = AckTimeout(f"Connection {connection_id!r:.120} did not answer {event!r:.80} within {seconds:g} s.")

    def the_answer(answers: list[Any]) -> Event:
        found = next((answer for answer in answers if answer is not None), None)
        match found:
            case [_, "answered", *_]:
                return read_event(found)
            case [_, "timed_out"]:
                raise late
            case [_, "failed", code, message]:
                raise EventFailed(str(code), str(message), is_from_peer=True)
        raise _gone(connection_id)

    arguments = connection_id, event, _text(event, data), seconds
    limit = seconds + get_settings().question_timeout
    return RoomQuestion("ask_one", arguments, limit, the_answer, hub_of(connection_id), lambda text: late)


# To the hub of one connection


def join(connection: str | Member, rooms: Iterable[str], timeout: float | None) -> RoomQuestion[None]:
    """Ask that a connection joins rooms."""
    return _command("join", id_of(connection), timeout, _joinable(rooms))


def leave(connection: str | Member, rooms: Iterable[str], timeout: float | None) -> RoomQuestion[None]:
    """Ask that a connection leaves rooms."""
    return _command("leave", id_of(connection), timeout, _joinable(rooms))


def disconnect(connection_id: str, code: int, reason: str, timeout: float | None) -> RoomQuestion[None]:
    """Ask that a connection is closed."""
    check_close(code, reason)
    return _command("disconnect", connection_id, timeout, code, reason)


def get(connection_id: str, timeout: float | None) -> RoomQuestion[ConnectionInfo | None]:
    """Ask what is known of a connection."""
    connection_id = check_id(connection_id)

    def the_info(answers: list[Any]) -> ConnectionInfo | None:
        return next((info for columns in answers if columns is not None for info in read_infos(columns)), None)

    return _question("get", timeout, the_info, connection_id, hub=hub_of(connection_id))


def data(connection_id: str, timeout: float | None) -> RoomQuestion[dict[str, Any]]:
    """Ask for a connection's data."""
    return _data_question("read_data", connection_id, timeout)


def update_data(
    connection_id: str, values: Mapping[str, Any], remove: Iterable[str], timeout: float | None
) -> RoomQuestion[dict[str, Any]]:
    """Ask that keys of a connection's data are set and removed."""
    changes = ConnectionData()
    changes.update(values)
    if isinstance(remove, str):
        raise TypeError(f"remove= takes keys, as a list, got the str {remove!r:.80}.")
    keys = list(remove)
    if odd := [key for key in keys if not isinstance(key, str)]:
        raise TypeError(f"remove= takes keys, which are str, got {type(odd[0]).__name__}: {odd[0]!r:.80}.")
    return _data_question("change_data", connection_id, timeout, changes.to_json(), keys)


# To all hubs


def count(room: str, timeout: float | None) -> RoomQuestion[int]:
    """Ask how many connections are in a room."""
    return _question("count", timeout, sum, room_name(room))


def names(timeout: float | None) -> RoomQuestion[list[str]]:
    """Ask for the names of the rooms that have a member."""
    return _question("names", timeout, _all_texts)


def members(room: str, timeout: float | None) -> RoomQuestion[list[ConnectionInfo]]:
    """Ask for the connections in a room."""
    return _question("infos", timeout, _all_infos, room_name(room))


def connections(timeout: float | None) -> RoomQuestion[list[ConnectionInfo]]:
    """Ask for all connections of the namespace."""
    return _question("infos", timeout, _all_infos, None)


def connection_ids(timeout: float | None) -> RoomQuestion[list[str]]:
    """Ask for the ids of the connections of all namespaces."""
    return _question("ids", timeout, _all_texts)


def clear(rooms: Iterable[str], timeout: float | None) -> RoomQuestion[None]:
    """Ask that all members leave rooms."""
    return _question("clear", timeout, _nothing, room_names(rooms))


def shutdown(code: int, reason: str, timeout: float | None) -> RoomQuestion[None]:
    """Ask that all connections of the namespace are closed."""
    check_close(code, reason)
    return _question("shutdown", timeout, _nothing, code, reason)


def _question(
    action: str, timeout: float | None, merge: Callable[[list[Any]], _T], *arguments: Any, hub: str | None = None
) -> RoomQuestion[_T]:
    return RoomQuestion(action, arguments, question_timeout(timeout), merge, hub)


def _command(action: str, connection_id: str, timeout: float | None, *arguments: Any) -> RoomQuestion[None]:
    """Return a question to the hub of one connection, which must be there."""
    connection_id = check_id(connection_id)

    def must_be_done(answers: list[Any]) -> None:
        if not any(answers):
            raise _gone(connection_id)

    return _question(action, timeout, must_be_done, connection_id, *arguments, hub=hub_of(connection_id))


def _data_question(
    action: str, connection_id: str, timeout: float | None, *arguments: Any
) -> RoomQuestion[dict[str, Any]]:
    connection_id = check_id(connection_id)

    def the_data(answers: list[Any]) -> dict[str, Any]:
        text = next((answer for answer in answers if answer is not None), None)
        if text is None:
            raise _gone(connection_id)
        return from_json(text)

    return _question(action, timeout, the_data, connection_id, *arguments, hub=hub_of(connection_id))


def _nothing(answers: list[Any]) -> None:
    return None


def _all_texts(answers: list[Any]) -> list[str]:
    return sorted({str(text) for texts in answers for text in cast(list[str], texts)})


def _all_infos(answers: list[Any]) -> list[ConnectionInfo]:
    return [info for columns in answers for info in read_infos(columns)]


def _gone(connection_id: str) -> ConnectionClosed:
    return ConnectionClosed(f"Connection {connection_id!r:.120} is gone, or never was.")


def _joinable(rooms: Iterable[str]) -> list[str]:
    names = list(rooms)
    for room in names:
        check_can_join(room)
    return names


def _text(event: str, data: object) -> str:
    """Return the wire text of the data, once the event is known to be one that can be sent."""
    text = to_text(data)
    to_frame(event, text)
    return text
