"""What the tests ask the process about itself."""

from django.urls import include, path

from tests.reference import views

urlpatterns = [
    path("visits/", include("tests.reference.visits_views")),
    path("process/", views.process),
    path("exercise/", views.exercise),
    path("exercise-async/", views.exercise_async),
    path("ask/", views.ask),
    path("ask-async/", views.ask_async),
    path("record/<str:name>/", views.peer_record),
]
