"""A namespace with handlers, rooms and types of all kinds, and its contract."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Annotated, Any, Literal

import msgspec
from django import forms
from django.core.management import call_command
from pydantic import BaseModel, Field
from rest_framework import serializers

from django_etp import Connection, Event, History, etp_event, etp_room, outgoing
from django_etp.schemas.outgoing import Outgoing

NAMESPACE = "shop"


@dataclass
class Say:
    """What a user says: */ in two lines,
    no less."""

    text: str
    to: int | None = None


class Node(BaseModel):
    name: str
    children: list["Node"] = []
    color: Literal["red", "blue"] = "red"
    at: tuple[float, float] | None = Field(None, description="Where it is.")


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: Annotated[float, Field(gt=0)]


class Square(BaseModel):
    kind: Literal["square"] = "square"
    side: float


Shape = Annotated[Circle | Square, Field(discriminator="kind")]


class Word(msgspec.Struct, tag="word"):
    text: str
    score: float = 0


class Stop(msgspec.Struct, tag="stop"):
    pass


class Line(serializers.Serializer):
    amount = serializers.IntegerField(min_value=1)
    id = serializers.IntegerField(read_only=True)


class Login(forms.Form):
    name = forms.CharField(max_length=30)


@dataclass
class Page:
    items: list[Say] = field(default_factory=list)


def declare() -> list[Outgoing[Any]]:
    """Declare all of it, and return the events that the server sends, which live as long as the list does."""

    @etp_event("say", namespace=NAMESPACE)
    async def say(connection: Connection, message: Say) -> int:
        """Say something to all.

        Others hear it.
        """
        return 1

    @etp_event("echo", namespace=NAMESPACE)
    async def echo(connection: Connection, text: str) -> str:
        return text

    @etp_event("raw", namespace=NAMESPACE)
    def raw(connection: Connection, event: Event): ...

    @etp_event("log in", namespace=NAMESPACE)
    def log_in(connection: Connection, form: Login) -> None: ...

    @etp_event("log.in", namespace=NAMESPACE)
    def log_in_by_dot(connection: Connection, shape: Shape) -> Node | None: ...

    @etp_event("words", namespace=NAMESPACE)
    async def words(connection: Connection, prompt: str) -> AsyncIterator[Word | Stop]:
        yield Word("a")

    @etp_event("lines", namespace=NAMESPACE)
    def lines(connection: Connection, lines: list[Line]) -> list[Line]: ...

    def describe(connection: Connection, **parameters: Any) -> dict[str, str]: ...

    @etp_room("orders/<int:pk>", namespace=NAMESPACE, login_required=True, permission="shop.view", presence=describe)
    async def order_room(connection: Connection, pk: int) -> Page:
        """One order."""
        return Page()

    @order_room.event("say")
    async def say_inside(connection: Connection, message: Say, pk: int) -> Say: ...

    @order_room.event("advice")
    async def advice(connection: Connection, prompt: str, pk: int) -> AsyncIterator[Word | Stop]:
        yield Word("a")

    @etp_room("teams/<slug:team>/<path:rest>", namespace=NAMESPACE, history=History())
    def team_room(connection: Connection, team: str, rest: str): ...

    return [
        outgoing("said", Say, namespace=NAMESPACE),
        outgoing("tree", Node, namespace=NAMESPACE),
        outgoing("say", str, namespace=NAMESPACE),
        outgoing("closed", type(None), namespace=NAMESPACE),
    ]


def output(*arguments: str, namespace: str = NAMESPACE) -> str:
    """Return what the command prints."""
    out = StringIO()
    call_command("etp_schema", f"--namespace={namespace}", *arguments, stdout=out)
    return out.getvalue()


def document(namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return the AsyncAPI document that the command prints."""
    printed: dict[str, Any] = json.loads(output(namespace=namespace))
    return printed
