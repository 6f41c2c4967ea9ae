"""Types that pydantic reads and writes: dataclasses, ``TypedDict``, its own models, builtins and generics of them."""

from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from django_etp.protocol.frames import Event

from .schema import MAX_ERRORS, error_at, is_checking, misfit, name_of, unsendable

__all__ = ["PydanticSchema"]


class PydanticSchema:
    """A type, by pydantic; with the names on the wire that aliases give to fields."""

    uses_database = False

    def __init__(self, annotation: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        self._name = name_of(annotation)

    def read(self, event: Event) -> Any:
        """See Reader.read(). Absent data is read as ``null``."""
        try:
            return self._adapter.validate_json(event.data or "null")
        except ValidationError as error:
            raise misfit(event, _errors_of(error)) from error

    def write(self, value: Any) -> str:
        """See Writer.write()."""
        is_checked = is_checking()
        try:
            if is_checked:
                self._adapter.validate_python(_with_open_dataclasses(value), by_alias=True, by_name=True)
            elif value is None:
                return ""
            text = self._adapter.dump_json(value, by_alias=True, warnings="error" if is_checked else "none")
        except ValidationError as error:
            raise unsendable(value, self._name, _errors_of(error)) from error
        except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
            raise unsendable(value, self._name, str(error)) from error
        return "" if value is None else text.decode()

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """See Reader.json_schema()."""
        from .pydantic_fields import schema_of  # which etp_schema alone needs

        return schema_of(self._adapter, is_sent=is_sent)


def _errors_of(error: ValidationError) -> list[dict[str, Any]]:
    if error.error_count() > MAX_ERRORS:  # pydantic takes long to list very many
        return [error_at((), f"There are {error.error_count():,} errors.", "too_many_errors")]
    listed = error.errors(include_url=False, include_context=False, include_input=False)
    return [error_at(each["loc"], each["msg"], each["type"]) for each in listed]


def _with_open_dataclasses(value: Any) -> Any:
    """Return a value with dicts in place of the dataclasses in it, since pydantic does not look into instances."""
    if type(value) in (list, tuple):
        return type(value)(map(_with_open_dataclasses, value))
    if type(value) is dict:
        return {key: _with_open_dataclasses(each) for key, each in value.items()}
    # A class with an InitVar takes a value that its instances do not keep.
    if is_dataclass(value) and not isinstance(value, type) and len(fields(value)) == len(value.__dataclass_fields__):
        return {each.name: _with_open_dataclasses(getattr(value, each.name)) for each in fields(value) if each.init}
    return value
