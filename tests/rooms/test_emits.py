"""Emits that take the place of one another, and their checked arguments."""

import sys
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from django_etp import rooms
from django_etp.rooms.emits import EmitOnCommit, Emits


def emit(event: str, *, to: Any = "lobby", data: object = None, key: object = None, exclude: Any = ()) -> EmitOnCommit:
    return EmitOnCommit.create("default", to, event, data, exclude, key)


def frames(*emits: EmitOnCommit) -> list[str]:
    collected = Emits()
    for each in emits:
        each.add_to(collected)
    return [send.text for send in collected.sends()]


def test_emits_without_a_key_are_all_sent():
    assert frames(emit("a"), emit("b"), emit("a")) == ["a||0", "b||0", "a||0"]


def test_a_key_replaces_and_takes_the_last_place():
    assert frames(emit("a", key=1), emit("b"), emit("a", data="x", key="1")) == ["b||0", "a||0||x"]


def test_a_key_may_be_falsy():
    assert frames(emit("a", key=0), emit("a", key=""), emit("a", key=0)) == ["a||0", "a||0"]


def test_each_room_is_named_once_in_plain_text():
    (send,) = emit("a", to=["x", rooms.user(7), "x"], exclude=["id"]).sends()
    assert send.rooms == ("x", "__user.7")
    assert [type(room) for room in send.rooms] == [str, str]
    assert send.exclude == {"id"}


def test_a_durable_emit_is_stored_by_the_outbox(monkeypatch: pytest.MonkeyPatch):
    stored: list[Any] = []
    module: Any = ModuleType("django_etp.outbox.storing")
    module.store = lambda *arguments, **options: stored.append((arguments, options))
    with pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        emit("a").store(None)
    monkeypatch.setattr(apps, "is_installed", lambda name: name == "django_etp.outbox")
    monkeypatch.setitem(sys.modules, "django_etp.outbox", ModuleType("django_etp.outbox"))
    monkeypatch.setitem(sys.modules, "django_etp.outbox.storing", module)
    emit("a", data={"id": 7}, key=5, exclude=["one"]).store(None)
    emit("b", to=[]).store("other")
    emit("c").store("other")
    assert stored == [
        (("default", ("lobby",), "a", '{"id":7}'), {"exclude": ("one",), "key": "5", "using": "default"}),
        (("default", ("lobby",), "c", ""), {"exclude": (), "key": None, "using": "other"}),
    ]
