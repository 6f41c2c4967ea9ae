"""Which library reads and writes a type, and that it is imported only if it is used."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import pytest
from django import forms
from rest_framework import serializers

from django_etp import Event
from django_etp.schemas import adapters
from django_etp.schemas.adapters import reader_for, writer_for

ROOT = Path(__file__).parents[2]


@dataclass
class Say:
    text: str


class Packed(msgspec.Struct):
    text: str


class Form(forms.Form): ...


class Serializer(serializers.Serializer): ...


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, "Text"),
        (None, "NoData"),
        (str | None, "PydanticSchema"),
        (Say, "PydanticSchema"),
        (list[Say], "PydanticSchema"),
        (int, "PydanticSchema"),
        (Packed, "MsgspecSchema"),
        (Packed | None, "MsgspecSchema"),
        (dict[str, list[Packed]], "MsgspecSchema"),
        (Form, "FormSchema"),
        (Form | None, "FormSchema"),
        (Serializer, "SerializerSchema"),
        (Serializer | None, "SerializerSchema"),
        (list[Serializer], "SerializerSchema"),
    ],
)
def test_each_type_belongs_to_a_library(annotation: Any, kind: str) -> None:
    assert type(reader_for(annotation)).__name__ == kind
    if kind != "FormSchema":
        assert type(writer_for(annotation)).__name__ == kind


@pytest.mark.parametrize("annotation", [Any, object, TypeVar("T"), Event, Event | None])
def test_types_that_leave_the_event_as_it_is(annotation: Any) -> None:
    assert reader_for(annotation) is None


@pytest.mark.parametrize("annotation", [Any, object, NoReturn, TypeVar("T")])
def test_results_that_are_left_to_the_encoder_of_the_project(annotation: Any) -> None:
    assert writer_for(annotation) is None


@pytest.mark.parametrize("annotation", [Packed | Say, list[Form], Form | Serializer, object.__init__])
def test_what_no_library_can_read_is_an_error(annotation: Any) -> None:
    with pytest.raises(Exception, match=r"."):
        reader_for(annotation)


@pytest.fixture
def without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    assert not adapters._has_pydantic()


@pytest.mark.usefixtures("without_pydantic")
@pytest.mark.parametrize("annotation", [Say, int, list[int], str | None])
def test_without_pydantic_its_types_cannot_be_read(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"needs pydantic: pip install 'django-etp\[schemas\]'"):
        reader_for(annotation)


@pytest.mark.usefixtures("without_pydantic")
@pytest.mark.parametrize(
    "annotation", [int, str | None, dict[str, Any], list[dict[str, int | None]], tuple[int, ...]], ids=str
)
def test_without_pydantic_the_encoder_of_the_project_writes_what_json_has(annotation: Any) -> None:
    assert writer_for(annotation) is None


@pytest.mark.usefixtures("without_pydantic")
def test_without_pydantic_its_classes_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="needs pydantic"):
        writer_for(list[Say])


@pytest.mark.parametrize(
    ("annotation", "others"),
    [
        ("connection, event", {"pydantic", "msgspec", "rest_framework"}),
        ("connection, event: django_etp.Event", {"pydantic", "msgspec", "rest_framework"}),
        ("connection, text: str", {"pydantic", "msgspec", "rest_framework"}),
        ("connection, number: int", {"msgspec", "rest_framework"}),
    ],
)
def test_a_library_is_imported_only_if_it_is_used(annotation: str, others: set[str]) -> None:
    code = f"""
import sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_etp"])
django.setup()
import django_etp
@django_etp.etp_event("event")
def handler({annotation}): ...
print(*{others!r} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
