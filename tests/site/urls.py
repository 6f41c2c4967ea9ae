"""URLs for tests that inspect the process."""

from django.urls import include, path

from tests.site import views

urlpatterns = [
    path("visits/", include("tests.site.visits_views")),
    path("process/", views.process),
    path("exercise/", views.exercise),
    path("exercise-async/", views.exercise_async),
    path("ask/", views.ask),
    path("ask-async/", views.ask_async),
    path("metrics/", views.metrics),
    path("record/<str:name>/", views.peer_record),
]
