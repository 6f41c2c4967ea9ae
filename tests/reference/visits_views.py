"""Logins, logouts and all else that the tests of "visits" do by HTTP; each view takes JSON and returns JSON."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth import authenticate, get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.reference.visits import visits

View = Callable[..., Any]

urlpatterns = []


def view(function: Callable[..., Any]) -> Callable[..., Any]:
    """Serve a function under its name: it takes the request and the members of a JSON object."""

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
def log_out(request: HttpRequest) -> None:
    logout(request)


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
    elif how == "change password in bulk":
        users.update(password=make_password("other"))


@view
def session(request: HttpRequest) -> dict[str, Any]:
    return dict(request.session.items())


@view
def start(request: HttpRequest) -> None:
    """Give an anonymous visitor a session."""
    request.session["started"] = True


@view
def buy(request: HttpRequest, number: int) -> None:
    request.session["cart"] = [*request.session.get("cart", []), number]
    messages.info(request, f"bought {number}")


@view
def slow(request: HttpRequest, seconds: float) -> None:
    """Save a copy of the session that is as old as this takes."""
    request.session["slow"] = True
    time.sleep(seconds)


@view
def notify(request: HttpRequest, user_id: int, text: str) -> None:
    visits.emit(visits.user(user_id), "notification", text)


@view
def data(request: HttpRequest, id: str) -> dict[str, Any]:
    return visits.data(id)


@view
def update_data(request: HttpRequest, id: str, values: dict[str, Any], remove: Iterable[str] = ()) -> dict[str, Any]:
    return visits.update_data(id, values, remove=remove)
