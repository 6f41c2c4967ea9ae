"""URLs for tests that inspect the process."""

from django.urls import include, path

from tests.site import views

urlpatterns = [
    path("health/", include("django_etp.urls")),
    path("visits/", include("tests.site.visits_views")),
    path("process/", views.process),
    path("exercise/", views.exercise),
    path("exercise-async/", views.exercise_async),
    path("ask/", views.ask),
    path("ask-async/", views.ask_async),
    path("enqueue/<str:room>/", views.enqueue),
    path("metrics/", views.metrics),
    path("record/<str:name>/", views.peer_record),
]
