"""The chat's URLs."""

from django.contrib.auth.views import LogoutView
from django.urls import path, register_converter

from . import views
from .models import Room


class RoomConverter:
    regex = "|".join(Room.values)

    def to_python(self, value: str) -> Room:
        return Room(value)

    def to_url(self, value: Room | str) -> str:
        return Room(value).value


register_converter(RoomConverter, "room")

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.LogInView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("rooms/<room:room>/", views.room, name="room"),
    path("rooms/<room:room>/announce/", views.announce, name="announce"),
]
