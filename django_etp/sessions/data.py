"""``connection.data``: a dict whose values JSON can hold."""

import json
from collections.abc import Iterable
from typing import Any, cast

from django_etp.conf import get_settings
from django_etp.exceptions import DataTooLarge

__all__ = ["ConnectionData", "check", "from_json"]

# A plain handler's thread may change the data while it is read.
_TRIES = 100


class ConnectionData(dict[str, Any]):
    """A dict with str keys and JSON values.

    Raises:
        TypeError: a key that is set is not str, or JSON cannot hold its value; the message names the key.
    """

    __slots__ = ()

    def __setitem__(self, key: str, value: Any) -> None:
        check(key, value)
        super().__setitem__(key, value)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """See dict.setdefault()."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """See dict.update(); if one value is refused, nothing changes."""
        new: dict[str, Any] = dict(*args, **kwargs)
        for key, value in new.items():
            check(key, value)
        super().update(new)

    def to_json(self) -> str:
        """Return the data as JSON.

        Raises:
            TypeError: a nested value was changed to one that JSON cannot hold.
        """
        for _ in range(_TRIES):
            try:
                return json.dumps(self, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                break
            except RuntimeError:
                continue  # a plain handler's thread changed it meanwhile
        for key, value in tuple(self.items()):
            check(key, value)
        return json.dumps(dict(self), allow_nan=False)

    def change(self, values: dict[str, Any], remove: Iterable[str]) -> None:
        """Set keys and remove others.

        Raises:
            DataTooLarge: the data would exceed ``MAX_DATA_SIZE``; nothing was changed.
        """
        new, removed = ConnectionData(self), tuple(remove)
        new.update(values)
        for key in removed:
            new.pop(key, None)
        if values and len(text := new.to_json()) > get_settings().max_data_size:
            raise _too_large(len(text), "Nothing was changed.")
        for key in removed:  # a plain handler's thread may have set others meanwhile
            self.pop(key, None)
        super().update({key: new[key] for key in values if key in new})

    def to_json_or_mend(self, written: str) -> str:
        """Return the data as JSON, if it can be stored.

        If it cannot, undo the changes at fault, so that later writes of other changes do not fail: a key is again as in
        ``written``, earlier JSON of the data.

        Raises:
            TypeError: a nested value was changed to one that JSON cannot hold.
            DataTooLarge: the data exceeds ``MAX_DATA_SIZE``.
        """
        try:
            text = self.to_json()
        except TypeError as error:
            self._mend(from_json(written))
            raise TypeError(f"{error} The key is again as it was at the last write.") from None
        if len(text) > get_settings().max_data_size and text != written:
            undone = self._shrink(from_json(text), from_json(written), len(text))
            raise _too_large(len(text), f"As they were at the last write are again: {undone!r:.200}.")
        return text

    def _mend(self, before: dict[str, Any]) -> None:
        for key, value in tuple(self.items()):
            try:
                check(key, value)
            except TypeError:
                self._restore(key, before)

    def _shrink(self, now: dict[str, Any], before: dict[str, Any], size: int) -> list[str]:
        """Undo the changes that added most until the data is small enough; return their keys."""
        growth = {key: _size(now, key) - _size(before, key) for key in now}
        undone = []
        for key in sorted(growth, key=growth.__getitem__, reverse=True):
            if size <= get_settings().max_data_size:
                break
            self._restore(key, before)
            size -= growth[key]
            undone.append(key)
        return undone

    def _restore(self, key: str, before: dict[str, Any]) -> None:
        if key in before:
            self[key] = before[key]
        else:
            self.pop(key, None)


def _size(data: dict[str, Any], key: str) -> int:
    return len(json.dumps({key: data[key]})) if key in data else 0


def _too_large(size: int, outcome: str) -> DataTooLarge:
    limit = get_settings().max_data_size
    return DataTooLarge(
        f"connection.data must have at most {limit:,} bytes as JSON (ETP['MAX_DATA_SIZE']), got {size:,}. "
        f"Keep what is large in the database or the cache, and its key in the data. {outcome}"
    )


def check(key: object, value: object) -> None:
    """Raise ``TypeError`` if a key is not str, or JSON cannot hold its value."""
    if not isinstance(key, str):
        raise TypeError(f"A key of connection.data must be str, got {type(key).__name__}: {key!r:.80}.")
    try:
        json.dumps(value, allow_nan=False)
        if isinstance(value, dict | list | tuple):
            _check_nested_keys(value)
    except RecursionError:
        raise TypeError(f"connection.data[{key!r:.80}] is nested too deeply for JSON.") from None
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"connection.data[{key!r:.80}] must be a value of JSON (str, numbers, bool, None, lists, dicts), "
            f"got {type(value).__name__}: {error}."
        ) from None


def _check_nested_keys(value: Any) -> None:
    # json.dumps() turns other keys into text: the data would come back changed.
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"its nested key {key!r:.80} is {type(key).__name__}, not str")
        value = value.values()
    for item in value:
        if isinstance(item, dict | list | tuple):
            _check_nested_keys(item)


def from_json(text: str) -> dict[str, Any]:
    """Return the data that to_json() encoded."""
    return cast(dict[str, Any], json.loads(text))
