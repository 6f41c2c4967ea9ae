"""Send events when rows of a model change: the signals of Django, bound to the commit.

Rules kept here:

- Signals of proxies, and of models that inherit from the model, count as well: they change the same rows.
- An event describes the row as it is in the database. If the instance may differ, the row is read again.
- If ``room`` is a callable, the row is read before each change, so that the room that it leaves is known.
- Fixtures (``raw=True``) send nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from django.apps import apps
from django.db.models import Field, ManyToManyField, Model
from django.db.models.signals import m2m_changed, post_save, pre_delete, pre_save

from django_etp.hub.names import room_names
from django_etp.protocol.frames import check_event_name

from .commits import emit_with_commit
from .rows import RowChange, Rows

__all__ = ["ModelEvents", "connect_waiting", "model_events"]

_Room = str | Callable[[Any], str | Iterable[str] | None]

# Attributes of an instance while it changes, or is loaded from a fixture.
_ROOMS_BEFORE = "_etp_rooms_before"
_IS_RAW = "_etp_is_raw"

# Those that wait until all models are loaded.
_waiting: list["ModelEvents"] = []


def model_events(
    model: type[Model],
    *,
    room: _Room,
    event: str = "changed",
    fields: Sequence[str] | None = None,
    serializer: Callable[[Any], Any] | None = None,
) -> "ModelEvents":
    """Send an event to a room each time a row of a model is created, updated or deleted, after the commit.

    The data is ``{"change": "created", "pk": 5, "fields": {...}}``, or ``"updated"`` or ``"deleted"``, the latter
    without fields. A transaction sends one event for a row: created and updated is created, created and deleted is
    nothing. It has the place and the fields of the last change. For more than 1,000 rows in a room it is
    ``{"change": "many"}``, once. Django sends no signal for ``update()``, ``bulk_create()``, ``bulk_update()`` and raw
    SQL, so these send no event.

    Args:
        model: the model; its proxies, and models that inherit from it, count as well.
        room: the name of the room, or a function of a row that returns one name, several or ``None``. For a row that
            moves to another room, the members of the old one get ``"deleted"``, and those of the new one ``"created"``.
        event: the name of the event.
        fields: the names of the fields to send; by default none, so that nothing is sent by accident.
        serializer: a serializer class of Django REST framework, or a function of the row that returns the fields.

    Returns:
        An object whose ``stop()`` ends it, for tests.

    Raises:
        FieldDoesNotExist: the model has no such field.
        InvalidEventName, InvalidRoomName: the event or the room cannot have this name.
        TypeError: an argument is of another type, or both ``fields`` and ``serializer`` are given.
    """
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise TypeError(f"model_events() takes a model, got {model!r:.80}.")
    check_event_name(event)
    events = ModelEvents(model, _room_function(room), Rows(event), _fields_function(model, fields, serializer))
    if apps.models_ready:
        events.connect()
    else:
        _waiting.append(events)
    return events


def connect_waiting() -> None:
    """Begin with the models that were named before all models were loaded."""
    while _waiting:
        _waiting.pop(0).connect()


def _room_function(room: _Room) -> Callable[[Any], tuple[str, ...]] | tuple[str, ...]:
    if not callable(room):
        return tuple(room_names(room))

    def rooms_of(row: Any) -> tuple[str, ...]:
        rooms = room(row)
        return () if rooms is None else tuple(dict.fromkeys(room_names(rooms)))

    return rooms_of


def _fields_function(model: type[Model], fields: object, serializer: Any) -> Callable[[Any], Any]:
    if serializer is not None:
        if fields is not None or not callable(serializer):
            raise TypeError(f"Pass either fields= or serializer=, a class or a function; got {serializer!r:.80}.")
        # A class of REST framework takes the row, and has the fields in .data.
        return (lambda row: serializer(row).data) if isinstance(serializer, type) else serializer
    if isinstance(fields, str):
        raise TypeError(f"fields= takes the names of fields, as a list, got the str {fields!r:.80}.")
    read = {name: _reader(model._meta.get_field(name)) for name in cast(Iterable[str], fields or ())}
    return lambda row: {name: value(row) for name, value in read.items()}


def _reader(field: Any) -> Callable[[Any], Any]:
    if isinstance(field, ManyToManyField):
        return lambda row: list(getattr(row, field.name).order_by("pk").values_list("pk", flat=True))
    if not isinstance(field, Field):
        raise TypeError(f"fields= takes fields that the model has itself; {field.name!r} is a relation to it.")
    return lambda row: field.get_prep_value(field.value_from_object(row))


class ModelEvents:
    """The events of one call of model_events()."""

    def __init__(
        self,
        model: type[Model],
        room: Callable[[Any], tuple[str, ...]] | tuple[str, ...],
        rows: Rows,
        fields: Callable[[Any], Any],
    ) -> None:
        self._model: Any = model._meta.concrete_model or model
        self._room = room
        self._rows = rows
        self._fields = fields
        self._connected: list[tuple[Any, Any, Any]] = []

    def connect(self) -> None:
        """Receive the signals of the model."""
        models = dict.fromkeys(model for model in [self._model, *apps.get_models()] if issubclass(model, self._model))
        receivers = [(pre_save, self._before_save), (post_save, self._saved), (pre_delete, self._deleted)]
        self._connected = [(signal, receiver, model) for model in models for signal, receiver in receivers]
        for field in self._model._meta.many_to_many:
            self._connected.append((m2m_changed, self._relation_receiver(field), field.remote_field.through))
        for signal, receiver, sender in self._connected:
            signal.connect(receiver, sender=sender, weak=False)

    def stop(self) -> None:
        """Send no more events."""
        for signal, receiver, sender in self._connected:
            signal.disconnect(receiver, sender=sender)
        self._connected = []

    def _rooms_of(self, row: Any) -> tuple[str, ...]:
        return self._room(row) if callable(self._room) else self._room

    def _emit(self, row: Any, before: Iterable[str], now: Iterable[str], fields: object, using: str) -> None:
        pk = getattr(row, self._model._meta.pk.attname)
        emit_with_commit(RowChange.create(self._rows, pk, before, now, fields), using)

    # Signals

    def _before_save(self, *, instance: Any, raw: bool, using: str, **kwargs: Any) -> None:
        if raw or not callable(self._room) or instance.pk is None:
            return
        if instance._state.adding and instance._meta.pk.has_default():
            return  # Django creates it without a look at the table, too
        row = _stored(instance, using)
        instance.__dict__.setdefault(_ROOMS_BEFORE, {})[id(self)] = () if row is None else self._rooms_of(row)

    def _saved(
        self, *, instance: Any, created: bool, raw: bool, using: str, update_fields: Any = None, **kwargs: Any
    ) -> None:
        if raw:
            instance.__dict__[_IS_RAW] = True
            return
        before = instance.__dict__.get(_ROOMS_BEFORE, {}).pop(id(self), ())
        if created:
            before = ()
        elif not callable(self._room):
            before = self._room
        is_same = update_fields is None and not any(
            hasattr(each, "resolve_expression") for each in vars(instance).values()
        )
        row = instance if is_same else _stored(instance, using) or instance
        self._emit(row, before, self._rooms_of(row), self._fields(row), using)

    def _deleted(self, *, instance: Any, using: str, origin: Any = None, **kwargs: Any) -> None:
        # Other rows than the one whose delete() was called were read for this.
        row = _stored(instance, using) if callable(self._room) and origin is instance else instance
        self._emit(instance, self._rooms_of(row or instance), (), {}, using)

    def _relation_receiver(self, field: Any) -> Callable[..., None]:
        def receive(*, instance: Any, action: str, reverse: bool, pk_set: Any, using: str, **kwargs: Any) -> None:
            if instance.__dict__.get(_IS_RAW):
                return
            key = id(self), field.name, reverse
            when, _, what = action.partition("_")
            if when == "pre":
                pks = self._changed_by(field, instance, reverse, pk_set, using) if what == "clear" or pk_set else set()
                rows = self._model._base_manager.using(using).filter(pk__in=pks)
                rooms = {row.pk: self._rooms_of(row) for row in rows} if callable(self._room) else {}
                instance.__dict__.setdefault(_ROOMS_BEFORE, {})[key] = pks, rooms
                return
            pks, rooms = instance.__dict__.get(_ROOMS_BEFORE, {}).pop(key, (set(), {}))
            for row in self._model._base_manager.using(using).filter(pk__in=pks).order_by("pk"):
                now = self._rooms_of(row)
                self._emit(row, rooms.get(row.pk, ()) if callable(self._room) else now, now, self._fields(row), using)

        return receive

    def _changed_by(self, field: Any, instance: Any, reverse: bool, pk_set: Any, using: str) -> set[Any]:
        """Return the keys of the rows whose relation changes."""
        if not reverse:  # also of a symmetrical relation: the other ends are not changed yet
            return {getattr(instance, self._model._meta.pk.attname, instance.pk)}
        if pk_set is not None:
            return set(pk_set)
        related = self._model._base_manager.using(using).filter(**{field.name: instance})
        return set(related.values_list("pk", flat=True))


def _stored(instance: Any, using: str) -> Any:
    """Return the row of an instance as it is in the database now."""
    return type(instance)._base_manager.using(using).filter(pk=instance.pk).first()
