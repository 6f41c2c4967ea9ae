"""The URLs of the package."""

from django.urls import include, path, reverse

urlpatterns = [path("etp/", include("django_etp.urls"))]


def test_the_views_have_names(settings):
    settings.ROOT_URLCONF = __name__
    assert reverse("django_etp:live") == "/etp/live/"
    assert reverse("django_etp:ready") == "/etp/ready/"
