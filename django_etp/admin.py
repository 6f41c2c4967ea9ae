"""The live page in Django's admin. Add it to an admin site of your own with ``site.register(Live, LiveAdmin)``."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_safe

from . import tenancy
from .exceptions import ConnectionClosed, EtpError, IncompleteAnswer, LayerUnavailable
from .live import actions, pages
from .live.forms import DisconnectForm, LeaveForm, MessageForm, UserMessageForm
from .live.rows import ConnectionRow
from .models import Live

__all__ = ["LiveAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Live]
else:
    _ModelAdmin = admin.ModelAdmin  # Django's class takes no type argument when it runs

_Action = actions.Action
_NAME = "django_etp_live"
# The views under the page, and what their scripts poll.
_DATA = {"": pages.connections, "rooms": pages.rooms, "room": pages.room, "connection": pages.connection}
_TITLES = {"": "Connections", "rooms": "Rooms", "room": "Room", "connection": "Connection"}


@admin.register(Live)
class LiveAdmin(_ModelAdmin):
    """The live page. Users with the permission to view it see it, and those with the one to change may act."""

    # The page shows the connections of all tenants, so no user of a single tenant may see it.

    def has_view_permission(self, request: HttpRequest, obj: Live | None = None) -> bool:
        """Return whether the user may see the page."""
        return not tenancy.current_schema() and super().has_view_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Live | None = None) -> bool:
        """Return whether the user may act."""
        return not tenancy.current_schema() and super().has_change_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: there is nothing to add."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Live | None = None) -> bool:
        """Refuse: there is nothing to delete."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Return the pages, and the data that each of them polls."""
        urls = [path("", self._view(""), name=f"{_NAME}_changelist")]  # the name that the admin's index links to
        for kind in _DATA:
            route, name = (f"{kind}/", f"{_NAME}_{kind}") if kind else ("", _NAME)
            urls += [
                path(route, self._view(kind), name=name),
                path(f"{route}data/", self._data(kind), name=f"{name}_data"),
            ]
        return urls

    def _view(self, kind: str) -> Callable[..., HttpResponseBase]:
        def view(request: HttpRequest) -> HttpResponse:
            self._check(request, may_act=request.method == "POST")
            forms = self._forms(kind)
            if request.method != "POST":
                return self._render(request, kind, {name: form() for name, form in forms.items()})
            name = request.POST.get("action", "")
            if name not in forms:
                raise PermissionDenied
            form = forms[name](request.POST)
            if not form.is_valid():
                unbound = {each: kind_of_form() for each, kind_of_form in forms.items()}
                return self._render(request, kind, unbound | {name: form}, status=400)
            return self._act(request, kind, name, form)

        return self._wrapped(require_http_methods(["GET", "HEAD", "POST"])(view))

    def _data(self, kind: str) -> Callable[..., HttpResponseBase]:
        def data(request: HttpRequest) -> JsonResponse:
            self._check(request)
            try:
                return JsonResponse(_DATA[kind](request.GET))
            except (ValueError, EtpError) as error:
                return JsonResponse({"problem": str(error)}, status=400)

        return self._wrapped(require_safe(data))

    def _wrapped(self, view: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponseBase]:
        for alias in connections:  # with ATOMIC_REQUESTS an event would be sent within a transaction
            view = transaction.non_atomic_requests(using=alias)(view)
        return self.admin_site.admin_view(view)

    def _check(self, request: HttpRequest, *, may_act: bool = False) -> None:
        if not (self.has_change_permission if may_act else self.has_view_permission)(request):
            raise PermissionDenied

    def _forms(self, kind: str) -> dict[str, type[Form]]:
        if kind == "connection":
            return {"disconnect": DisconnectForm, "message": UserMessageForm, "leave": LeaveForm}
        return {"message": MessageForm, "leave": LeaveForm} if kind == "room" else {}

    def _render(self, request: HttpRequest, kind: str, forms: dict[str, Form], status: int = 200) -> HttpResponse:
        site = self.admin_site
        request.current_app = site.name  # as the admin's own views do
        context = {
            **site.each_context(request),
            "opts": self.opts,
            "title": "Live",
            "subtitle": _TITLES[kind],
            "kind": kind,
            "forms": forms,
            "may_act": self.has_change_permission(request),
            "search": request.GET.get("q", ""),
            "room": request.GET.get("name", ""),
            "connection_id": request.GET.get("id", ""),
        }
        return TemplateResponse(request, "django_etp/admin/live.html", context, status=status)

    def _act(self, request: HttpRequest, kind: str, name: str, form: Form) -> HttpResponse:
        here, values = request.get_full_path(), form.cleaned_data
        if kind == "room":
            namespace, room = request.GET.get("namespace", ""), request.GET.get("name", "")
            if name == "leave":
                action = actions.leave(namespace, values["connection"], values["room"])
            else:
                action = actions.send_to_room(namespace, room, values["event"], values["payload"])
        elif (row := pages.find(request.GET.get("id", ""))) is None:
            self.message_user(request, "The connection has ended.", messages.ERROR)
            return HttpResponseRedirect(self._list_url())
        else:
            action = _action_on(row, name, values)
        self._run(request, action)
        return HttpResponseRedirect(self._list_url() if name == "disconnect" else here)

    def _run(self, request: HttpRequest, action: _Action) -> None:
        done, level = action.done, messages.SUCCESS
        try:
            action.run()
        except (IncompleteAnswer, LayerUnavailable) as error:
            done, level = f"Not confirmed: {action.done} {error}", messages.WARNING
        except EtpError as error:
            text = "The connection has ended." if isinstance(error, ConnectionClosed) else str(error)
            self.message_user(request, text, messages.ERROR)
            return
        self.log_change(request, Live(id=action.target[:200]), done)
        self.message_user(request, f"{action.target}: {done}", level)

    def _list_url(self) -> str:
        return reverse(f"admin:{_NAME}", current_app=self.admin_site.name)


def _action_on(row: ConnectionRow, name: str, values: dict[str, Any]) -> _Action:
    match name:
        case "disconnect":
            return actions.disconnect(row, values["code"], values["reason"])
        case "leave":
            return actions.leave(row.namespace, row.id, values["room"])
    send = actions.send_to_user if values["to"] == "user" and row.identity else actions.send_to_connection
    return send(row, values["event"], values["payload"])
