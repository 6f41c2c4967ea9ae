"""Changes of a contract that break clients which were written for the old one.

The rules are the table in ``docs/contract.md``.
"""

from collections.abc import Iterator

from .compatibility import Misfit, misfits
from .model import Contract, Handled, Payload, Schema
from .names import may_lose_names, shape_of

__all__ = ["breaking_changes"]

_NO_DATA = {"type": "null"}


def breaking_changes(old: Contract, new: Contract) -> list[str]:
    """Return the changes that break clients of the old contract, a sentence each."""
    return list(_Changes(old, new).all())


class _Changes:
    """Two contracts, side by side."""

    def __init__(self, old: Contract, new: Contract) -> None:
        self._old = old
        self._new = new

    def all(self) -> Iterator[str]:
        """Yield the changes that break clients."""
        yield from self._in_events("", self._old.events, self._new.events)
        for name, payload in self._old.sent.items():
            what = f"the event {name!r} that the server sends"
            if name in self._new.sent:
                yield from self._in_answer(what, payload, self._new.sent[name])
            else:
                yield f"{what} is gone"
        yield from self._in_rooms()

    def _in_rooms(self) -> Iterator[str]:
        rooms = {shape_of(pattern): room for pattern, room in self._new.rooms.items()}
        for pattern, old in self._old.rooms.items():
            what, new = f"the room {pattern!r}", rooms.get(shape_of(pattern))
            if new is None:
                yield f"{what} is gone"
                continue
            if may_lose_names(pattern, new.pattern):
                yield f"{what} has another pattern, {new.pattern!r}, which may not match all of its names"
            yield from self._out(f"{what}: its state", old.state, new.state)
            if old.info is not None and new.info is None:
                yield f"{what} has no presence any more"
            if old.has_history and not new.has_history:
                yield f"{what} has no history any more"
            if old.info is not None and new.info is not None:
                yield from self._out(f"{what}: the info of its members", old.info, new.info)
            yield from self._in_events(f"{what}: ", old.events, new.events)

    def _in_events(self, where: str, old: dict[str, Handled], new: dict[str, Handled]) -> Iterator[str]:
        for name, event in old.items():
            what = f"{where}the event {name!r}"
            if name not in new:
                yield f"{what} is gone"
                continue
            yield from self._in_payload(what, event.payload, new[name].payload)
            if event.is_stream != new[name].is_stream:
                yield f"{what}: its answer is {'no longer' if event.is_stream else 'now'} streamed"
            else:
                yield from self._in_answer(f"{what}: its answer", event.answer, new[name].answer)

    def _in_payload(self, what: str, old: Payload, new: Payload) -> Iterator[str]:
        if _changes_form(old, new):
            yield f"{what}: its payload is {_form(new)} now, no longer {_form(old)}"
        elif not new.is_text:  # any data is text
            for misfit in misfits(old.schema, self._old.schemas, new.schema, self._new.schemas, is_strict=True):
                yield f"{what}: its payload{_in_words(misfit)}"

    def _in_answer(self, what: str, old: Payload, new: Payload) -> Iterator[str]:
        if new.schema == _NO_DATA and old.schema != _NO_DATA and not _is_open(old):
            yield f"{what} is gone"
        elif _changes_form(new, old):
            yield f"{what} is {_form(new)} now, no longer {_form(old)}"
        elif not old.is_text or not new.is_text:
            yield from self._out(what, old.schema, new.schema)

    def _out(self, what: str, old: Schema, new: Schema) -> Iterator[str]:
        for misfit in misfits(new, self._new.schemas, old, self._old.schemas, is_strict=False):
            yield f"{what}{_out_words(misfit)}"


def _is_open(payload: Payload) -> bool:
    return payload.schema is True and not payload.is_text


def _form(payload: Payload) -> str:
    if payload.schema == _NO_DATA:
        return "no data"
    return "text as it is" if payload.is_text else "JSON"


def _changes_form(given: Payload, wanted: Payload) -> bool:
    """Return whether one is text and the other one JSON; no data is both, and so is data of an unknown type."""
    if wanted.is_text and given.schema == _NO_DATA:
        return False
    return given.is_text != wanted.is_text and not _is_open(wanted) and not _is_open(given)


def _in_words(misfit: Misfit) -> str:
    place = f" at {misfit.path}" if misfit.path else ""
    match misfit.kind:
        case "missing":
            return f"{place} is required now"
        case "unwanted":
            return f"{place} is refused now"
        case "type":
            return f"{place} may be {misfit.given} no longer, only {misfit.wanted}"
    return f"{place} is narrower: {misfit.kind} was {misfit.given} and is {misfit.wanted}"


def _out_words(misfit: Misfit) -> str:
    place = f" at {misfit.path}" if misfit.path else ""
    match misfit.kind:
        case "missing":
            return f"{place} may be missing now"
        case "type":
            return f"{place} may be {misfit.given} now, not only {misfit.wanted}"
    return f"{place} is wider: {misfit.kind} was {misfit.wanted} and is {misfit.given}"
