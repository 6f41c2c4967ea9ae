"""``connection.data``: a dict whose values JSON can hold."""

import json
from typing import Any, cast

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

    def mend(self, written: str) -> None:
        """Undo changes that JSON cannot hold: such a key is again as it is in ``written``, earlier JSON of the data."""
        before = from_json(written)
        for key, value in tuple(self.items()):
            try:
                check(key, value)
            except TypeError:
                if key in before:
                    self[key] = before[key]
                else:
                    del self[key]


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
