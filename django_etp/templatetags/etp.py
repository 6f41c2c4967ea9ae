"""The template tags of ``{% load etp %}``."""

from typing import Any

from django import template
from django.core.exceptions import ImproperlyConfigured
from django.template.base import FilterExpression, Parser, Token, token_kwargs
from django.utils.html import format_html

from django_etp.events.registry import registry
from django_etp.rooms.moments import position_at

__all__ = ["register"]

register = template.Library()


@register.tag("etp_room")
def etp_room(parser: Parser, token: Token) -> template.Node:
    """Write an element with the name of a room, and its position when the request began.

    ``{% etp_room order_room pk=order.pk %}`` writes ``<etp-room name="orders/5" position="…"></etp-room>``. The room is
    a declared room in the context, the name of its function, or a room's name as text.
    """
    tag, *bits = token.split_contents()
    if not bits:
        raise template.TemplateSyntaxError(f"{tag!r} needs a room: {{% {tag} order_room pk=order.pk %}}.")
    room, rest = bits[0], bits[1:]
    parameters = token_kwargs(rest, parser)
    if rest:
        raise template.TemplateSyntaxError(f"{tag!r} takes the parameters of the room as name=value, got {rest[0]!r}.")
    return _RoomNode(room, parser.compile_filter(room), parameters)


class _RoomNode(template.Node):
    def __init__(self, text: str, room: FilterExpression, parameters: dict[str, FilterExpression]) -> None:
        self._text = text
        self._room = room
        self._parameters = parameters

    def render(self, context: template.Context) -> str:
        request: Any = getattr(context, "request", None) or context.get("request")
        if not hasattr(request, "etp_moment"):
            raise ImproperlyConfigured(
                "{% etp_room %} needs the request in the context, and 'django_etp.middleware.PositionMiddleware' in "
                "MIDDLEWARE."
            )
        namespace, name = self._name(context)
        moment: float | None = request.etp_moment
        position = None if moment is None else position_at(namespace, name, moment)
        if position is None:
            return format_html('<etp-room name="{}"></etp-room>', name)
        return format_html('<etp-room name="{}" position="{}"></etp-room>', name, position)

    def _name(self, context: template.Context) -> tuple[str, str]:
        room: Any = self._room.resolve(context, ignore_failures=True)
        if isinstance(room, str) and not self._parameters:
            return "default", room
        found = registry.find_declared(self._text if room is None else room)
        if len(found) != 1:
            raise template.TemplateSyntaxError(
                f"{{% etp_room %}} needs a declared room, the name of its function, or the name of a room, got "
                f"{self._text!r}, which is {len(found)} declared rooms."
            )
        [(namespace, declared)] = found
        return namespace, declared(**{name: value.resolve(context) for name, value in self._parameters.items()})
