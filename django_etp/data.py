"""``connection.data``: a dict that knows when it may have changed, and takes only what JSON can hold."""

import json
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["ConnectionData"]


class ConnectionData(dict[str, Any]):
    """A dict with str keys and JSON values.

    ``is_touched`` says that somebody has looked at it or changed it since it was last reset: a look may hand out a
    nested value, which can be changed without this dict being told.

    Raises:
        TypeError: on setting a key that is not str, or a value that JSON cannot hold; it names the key.
    """

    __slots__ = ("is_touched",)

    def __init__(self) -> None:
        super().__init__()
        self.is_touched = False

    def __setitem__(self, key: str, value: Any) -> None:
        check(key, value)
        self.is_touched = True
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.is_touched = True
        super().__delitem__(key)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """See dict.setdefault()."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """See dict.update(); nothing is changed where one value is refused."""
        new: dict[str, Any] = dict(*args, **kwargs)
        for key, value in new.items():
            check(key, value)
        self.is_touched = True
        super().update(new)

    def replace(self, values: Mapping[str, Any]) -> None:
        """Hold these values instead of its own."""
        new = dict(values)
        for key, value in new.items():
            check(key, value)
        self.clear()
        super().update(new)
        self.is_touched = True

    def to_json(self) -> str:
        """Return it as JSON.

        Raises:
            TypeError: a nested value was changed into something that JSON cannot hold.
        """
        while True:
            try:
                return json.dumps(self, allow_nan=False)
            except RuntimeError:
                continue  # a plain handler's thread changed it meanwhile
            except (TypeError, ValueError):
                for key, value in tuple(self.items()):
                    check(key, value)
                raise


def check(key: object, value: object) -> None:
    """Raise ``TypeError`` where a key is not str, or a value not JSON."""
    if not isinstance(key, str):
        raise TypeError(f"A key of connection.data must be str, got {type(key).__name__}: {key!r:.80}.")
    try:
        json.dumps(value, allow_nan=False)
    except RuntimeError as error:
        if isinstance(error, RecursionError):
            raise TypeError(f"connection.data[{key!r:.80}] is nested too deeply for JSON.") from None
        raise
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"connection.data[{key!r:.80}] must be what JSON can hold (str, numbers, bool, None, lists, dicts), "
            f"got {type(value).__name__}: {error}."
        ) from None


def from_json(text: str) -> dict[str, Any]:
    """Return what to_json() wrote."""
    return cast(dict[str, Any], json.loads(text))
