"""What the tests ask the process about itself."""

from django.urls import path

from tests.reference import views

urlpatterns = [
    path("process/", views.process),
    path("record/<str:name>/", views.peer_record),
]
