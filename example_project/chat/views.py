"""The chat's pages: plain Django views, one of which sends to all members of a room."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from . import announcements
from .forms import LogInForm, TextForm, first_error
from .messages import MAX_LENGTH
from .rooms import Room


class LogInView(LoginView):
    authentication_form = LogInForm
    redirect_authenticated_user = True
    template_name = "chat/login.html"


def home(request: HttpRequest) -> HttpResponse:
    """Open the room that the visitor was in last, which `chat_room` stores in the session."""
    last = request.session.get("room")
    return redirect("room", last if last in Room else Room.LOBBY)


@login_required
def room(request: HttpRequest, room: Room) -> HttpResponse:
    return _room_page(request, room, TextForm(auto_id="announcement-%s"))


@login_required
@require_POST
def announce(request: HttpRequest, room: Room) -> HttpResponse:
    """Send an announcement to the room; answer with JSON for the page's script, with HTML for a plain form."""
    if not room.admits(request.user):
        raise PermissionDenied("You may not enter this room.")
    wants_json = not request.accepts("text/html")
    form = TextForm(request.POST, auto_id="announcement-%s")
    if not form.is_valid():
        if wants_json:
            return JsonResponse({"error": first_error(form)}, status=400)
        return _room_page(request, room, form, status=400)
    if settings.BROKER:
        from .tasks import announce_later  # Celery is needed only if there is a broker

        announce_later.delay(room, request.user.pk, form.cleaned_data["text"])
    else:
        announcements.announce(room, request.user, form.cleaned_data["text"])
    return JsonResponse({}) if wants_json else redirect("room", room)


def _room_page(request: HttpRequest, room: Room, form: TextForm, status: int = 200) -> HttpResponse:
    context = {"room": room, "rooms": Room, "form": form, "max_length": MAX_LENGTH}
    return render(request, "chat/room.html", context, status=status)
