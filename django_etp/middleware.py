"""Django middleware that notes when a request began, for the positions of rooms with history in its page."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from .rooms.moments import anote_moment, note_moment

__all__ = ["PositionMiddleware"]


_Response = TypeVar("_Response", bound=HttpResponseBase | Awaitable[HttpResponseBase])


class PositionMiddleware(Generic[_Response]):
    """Note the moment at which a request began, for ``{% etp_room %}``.

    Put it before middleware that reads what pages show. It asks the store of histories for its time.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], _Response]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> _Response:
        """Return the response."""
        if self._is_async:
            return self._respond(request)  # type: ignore[return-value]
        request.etp_moment = note_moment()  # type: ignore[attr-defined]
        return self.get_response(request)

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        request.etp_moment = await anote_moment()  # type: ignore[attr-defined]
        response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]
        return response
