"""The HTTP side of the tests of "visits", such as login and logout; each view takes and returns JSON."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth import SESSION_KEY, authenticate, get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.hashers import make_password
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.models import Session
from django.dispatch import receiver
from django.http import HttpRequest, JsonResponse
from django.urls import path

from django_etp import EtpError
from tests.site.visits import in_handshakes, visits

View = Callable[..., Any]

urlpatterns = []
began: list[float] = []


def view(function: Callable[..., Any]) -> Callable[..., Any]:
    """Serve a function at its name; its arguments are the request and the members of a JSON object."""

    def serve(request: HttpRequest) -> JsonResponse:
        return JsonResponse({"result": function(request, **json.loads(request.body or "{}"))})

    urlpatterns.append(path(f"{function.__name__}/", serve))
    return function


@view
def sign_up(request: HttpRequest, username: str) -> int:
    return get_user_model().objects.create_user(username, password="secret").pk


@view
def log_in(request: HttpRequest, username: str, password: str = "secret") -> bool:
    user = authenticate(request, username=username, password=password)
    if user is not None:
        login(request, user)
    return user is not None


@view
def log_out(request: HttpRequest, linger: float = 0) -> None:
    """Log out; `linger` is the seconds between Django's signal and the end of the session."""
    request.linger = linger  # type: ignore[attr-defined]
    logout(request)


@receiver(user_logged_out)
def _linger(request: HttpRequest, **kwargs: Any) -> None:
    time.sleep(request.linger)  # type: ignore[attr-defined]


@view
def change_password(request: HttpRequest, password: str) -> None:
    request.user.set_password(password)
    request.user.save()
    update_session_auth_hash(request, request.user)


@view
def change_user(request: HttpRequest, username: str, how: str) -> None:
    """Do to a user what an admin, another process or a bulk update may do."""
    users = get_user_model().objects.filter(username=username)
    if how == "deactivate":
        user = users.get()
        user.is_active = False
        user.save()
    elif how == "delete":
        users.delete()
    elif how == "deactivate in bulk":
        users.update(is_active=False)
    elif how == "delete in bulk":
        users._raw_delete(users.db)
    elif how == "change password in bulk":
        users.update(password=make_password("other"))
    elif how == "flush":
        user_id = str(users.get().pk)
        for row in Session.objects.all():
            if row.get_decoded().get(SESSION_KEY) == user_id:
                row.delete()


@view
def session(request: HttpRequest) -> dict[str, Any]:
    return dict(request.session.items())


@view
def start(request: HttpRequest) -> None:
    """Give an anonymous visitor a session."""
    request.session["started"] = True


@view
def forget(request: HttpRequest, key: str) -> None:
    """Save the session without a key, like a copy that is older than the key."""
    del request.session[key]


@view
def buy(request: HttpRequest, number: int) -> None:
    request.session["cart"] = [*request.session.get("cart", []), number]
    messages.info(request, f"bought {number}")


@view
def stored(request: HttpRequest, key: str) -> Any:
    """Return the content stored under a key other than the request's own."""
    row = Session.objects.filter(session_key=key).first()
    return row and row.get_decoded()


@view
def in_handshake(request: HttpRequest, username: str) -> int:
    """Return the number of a user's handshakes in progress in this process."""
    return in_handshakes.count(username)


@view
def slow(request: HttpRequest, seconds: float) -> None:
    """Save a copy of the session that is as old as this takes."""
    request.session["slow"] = True
    began.append(seconds)
    time.sleep(seconds)


@view
def slow_began(request: HttpRequest) -> int:
    return len(began)


@view
def notify(request: HttpRequest, user_id: int, text: str) -> None:
    visits.emit(visits.user(user_id), "notification", text)


@view
def data(request: HttpRequest, id: str) -> Any:
    return _or_error(lambda: visits.data(id))


@view
def update_data(request: HttpRequest, id: str, values: dict[str, Any], remove: Iterable[str] = ()) -> Any:
    return _or_error(lambda: visits.update_data(id, values, remove=remove))


def _or_error(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except EtpError as error:
        return type(error).__name__
