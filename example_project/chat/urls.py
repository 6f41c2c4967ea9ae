"""The chat's URLs."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from . import converters as converters  # registers <room:…>
from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.LogInView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("rooms/<room:room>/", views.room, name="room"),
    path("rooms/<room:room>/announce/", views.announce, name="announce"),
]
