"""The pattern of a declared room: from a room's name to its parameters, and back.

Rules kept here:

- A pattern is written as in Django's ``path()``, with the same converters.
- A name and its parameters belong together: if a pattern matches a name, the parameters make the same name again. So
  ``orders/05`` is no room of ``orders/<int:pk>``.
- A name holds no space, no ``|`` and no control character, and is a name that a client may join.
"""

import re
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.urls.converters import get_converters

from django_etp.exceptions import InvalidRoomName, NoRoomMatch
from django_etp.hub.names import check_can_join

from .overlap import Text, can_overlap, literal

__all__ = ["RoomPattern", "are_used"]

_PARAMETER = re.compile(r"<(?:(?P<converter>[^>:]+):)?(?P<name>[^>]+)>")
# A room's name goes on the wire inside the name of an event, and into the lines of logs.
_NOT_IN_NAMES = re.compile(r"[\s|\x00-\x1f\x7f]")

_used = False


def are_used() -> bool:
    """Return whether this process has declared a room."""
    return _used


class RoomPattern:
    """The pattern of a declared room.

    Attributes:
        text: the pattern as it was written.
        parameters: the names of its parameters.

    Raises:
        ImproperlyConfigured: the pattern is not valid, or has no literal part.
    """

    def __init__(self, text: str) -> None:
        global _used
        if not isinstance(text, str):
            raise ImproperlyConfigured(f'the pattern must be text such as "orders/<int:pk>", got {text!r:.80}')
        self.text = text
        self._converters: dict[str, Any] = {}
        self._parts: list[str | tuple[Text, ...]] = []
        regex, position, literals = "", 0, ""
        for found in _PARAMETER.finditer(text):
            before = text[position : found.start()]
            converter = self._add(found["name"], found["converter"] or "str")
            self._parts += [literal(before), converter.regex]
            regex += f"{re.escape(before)}(?P<{found['name']}>{converter.regex})"
            literals += before
            position = found.end()
        rest = text[position:]
        self._parts.append(literal(rest))
        try:
            self._regex = re.compile(regex + re.escape(rest))
        except re.error as error:
            raise ImproperlyConfigured(
                f"the regular expression of a converter in the pattern {text!r} is not valid there: {error}"
            ) from error
        self._check_literals(literals + rest)
        self.parameters = frozenset(self._converters)
        _used = True

    def __repr__(self) -> str:
        return f"<RoomPattern {self.text!r}>"

    def _add(self, name: str, converter: str) -> Any:
        if not name.isidentifier() or name in self._converters:
            raise ImproperlyConfigured(
                f"each parameter of the pattern {self.text!r} needs a Python name of its own, got {name!r:.80}"
            )
        if converter not in get_converters():
            raise ImproperlyConfigured(
                f"the pattern {self.text!r} uses the converter {converter!r:.80}, which is none of "
                f"{', '.join(sorted(get_converters()))}; call register_converter() before"
            )
        self._converters[name] = get_converters()[converter]
        return self._converters[name]

    def _check_literals(self, literals: str) -> None:
        if not any(map(str.isalnum, literals)):
            raise ImproperlyConfigured(
                f"the pattern {self.text!r} has no literal part with a letter or a digit, and would match names of "
                'other rooms: write one, as in "orders/<int:pk>"'
            )
        if _NOT_IN_NAMES.search(literals) or "<" in literals or ">" in literals or self.text.startswith("__"):
            raise ImproperlyConfigured(
                f"the literal parts of the pattern {self.text!r} must hold no space, no '|', '<' or '>', no control "
                "character, and not begin with '__'"
            )

    def match(self, name: str) -> dict[str, Any] | None:
        """Return the parameters of a room's name; ``None`` if the name does not match."""
        found = self._regex.fullmatch(name)
        if found is None or _NOT_IN_NAMES.search(name):
            return None
        texts, parameters = found.groupdict(), {}
        try:
            check_can_join(name)
            for each, converter in self._converters.items():
                parameters[each] = converter.to_python(texts[each])
                if str(converter.to_url(parameters[each])) != texts[each]:
                    return None
        except (ValueError, InvalidRoomName):
            return None
        return parameters

    def name(self, parameters: dict[str, Any]) -> str:
        """Return the name of the room with these parameters.

        Raises:
            NoRoomMatch: they are not those of the pattern, or a value does not fit its converter.
        """
        try:
            if parameters.keys() == self.parameters:
                texts = {each: str(self._converters[each].to_url(value)) for each, value in parameters.items()}
                name = _PARAMETER.sub(lambda found: texts[found["name"]], self.text)
                found = self._regex.fullmatch(name)
                if found is not None and found.groupdict() == texts and self.match(name) is not None:
                    return name
        except (ValueError, TypeError, AttributeError):
            pass  # to_url() of a value that does not fit
        got = ", ".join(f"{each}={value!r:.80}" for each, value in parameters.items()) or "none"
        raise NoRoomMatch(f"No room of the pattern {self.text!r} has these parameters: {got}.")

    def can_overlap(self, other: "RoomPattern") -> bool:
        """Return whether a name may match both patterns."""
        return can_overlap(self._parts, other._parts)
