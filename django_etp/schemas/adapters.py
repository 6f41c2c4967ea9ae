"""Choose the library that reads and writes a type; it is imported only if it is used.

Rules kept here:

- A bare ``str`` is raw text, and ``None`` no data. All other types are JSON.
- A type that holds a ``msgspec.Struct`` belongs to msgspec, serializers to Django REST framework, and forms to Django.
  All other types belong to pydantic.
"""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import NoneType, UnionType
from typing import Any, Never, NoReturn, TypeVar, Union, cast, get_args, get_origin

from django.utils.module_loading import import_string

from django_etp.protocol.frames import Event

from .plain import NoData, Text
from .schema import Reader, Writer, name_of

__all__ = ["reader_for", "writer_for"]

# Without pydantic the project's own encoder writes what is made of these.
_JSON_TYPES = (str, int, float, bool, None, NoneType, dict, list, tuple, Any, object)
# These leave a value open, or mean that there is none.
_OPEN_TYPES = (Any, object, Never, NoReturn)


def reader_for(annotation: Any) -> Reader | None:
    """Return what reads events of a type; ``None`` if it is that of the event itself, or is left open.

    Raises:
        Exception: nothing can read it; the text has the reason.
    """
    if _is_open(annotation) or Event in _members(annotation):
        return None
    return cast(Reader, _adapter_for(annotation))


def writer_for(annotation: Any) -> Writer | None:
    """Return what writes values of a type; ``None`` if that is left to the encoder of the project.

    Raises:
        Exception: nothing can write it; the text has the reason.
    """
    if _is_open(annotation) or (not _has_pydantic() and _is_json(annotation)):
        return None
    adapter = _adapter_for(annotation)
    if not hasattr(adapter, "write"):
        raise TypeError(f"{name_of(annotation)} is a form, which reads data: forms cannot be sent")
    return cast(Writer, adapter)


def _adapter_for(annotation: Any) -> Any:
    if annotation is str:
        return Text()
    if annotation in (None, NoneType):
        return NoData()
    others = [each for each in _members(annotation) if each is not NoneType]
    is_optional = len(others) < len(_members(annotation))
    if len(others) == 1:
        (only,) = others
        if _is_of(only, "django.forms", "BaseForm"):
            return _adapter("forms.FormSchema")(only, is_optional=is_optional)
        is_many = get_origin(only) is list
        serializer = get_args(only)[0] if is_many else only
        if _is_of(serializer, "rest_framework.serializers", "BaseSerializer"):
            return _adapter("serializers.SerializerSchema")(serializer, many=is_many, is_optional=is_optional)
    if any(_is_of(each, "msgspec", "Struct") for each in _parts(annotation)):
        return _adapter("msgspec.MsgspecSchema")(annotation)
    if not _has_pydantic():
        raise TypeError(f"{name_of(annotation)} needs pydantic: pip install 'django-etp[schemas]'")
    return _adapter("pydantic.PydanticSchema")(annotation)


def _adapter(name: str) -> Any:
    return import_string(f"{__package__}.{name}")


def _has_pydantic() -> bool:
    return find_spec("pydantic") is not None


def _is_open(annotation: Any) -> bool:
    return annotation in _OPEN_TYPES or isinstance(annotation, TypeVar)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for each in get_args(annotation):
        yield from _parts(each)


def _is_json(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType, dict, list, tuple):
        return all(each is ... or _is_json(each) for each in get_args(annotation))
    return annotation in _JSON_TYPES


def _is_of(annotation: Any, module: str, base: str) -> bool:
    """Return whether a type is a class of a library: if the library was not imported, it is none."""
    library = sys.modules.get(module)
    return isinstance(annotation, type) and library is not None and issubclass(annotation, getattr(library, base))
