"""Emits that take the place of one another, and their checked arguments."""

import json
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import modify_settings

from django_etp import rooms
from django_etp.outbox.models import OutboxEvent
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


@pytest.mark.django_db
def test_a_durable_emit_is_stored_by_the_outbox():
    emit("a", data={"id": 7}, key=5, exclude=["one"]).store(None)
    emit("b", to=[]).store(None)  # to no room
    emit("c", to=["x", "y"]).store("default")
    rows = OutboxEvent.objects.order_by("pk")
    assert [(row.namespace, row.room_names, row.event, bytes(row.payload)) for row in rows] == [
        ("default", ["lobby"], "a", b'{"id":7}'),
        ("default", ["x", "y"], "c", b""),
    ]
    assert [(json.loads(row.exclude), row.key is None) for row in rows] == [(["one"], False), ([], True)]


@modify_settings(INSTALLED_APPS={"remove": "django_etp.outbox"})
def test_a_durable_emit_needs_the_app_of_the_outbox():
    with pytest.raises(ImproperlyConfigured, match=r"add 'django_etp\.outbox' to INSTALLED_APPS and run 'manage\.py"):
        emit("a").store(None)
