"""The admin, and a second admin site of a project's own, for tests that set ROOT_URLCONF."""

from django.contrib import admin
from django.urls import path

from django_etp.admin import LiveAdmin
from django_etp.models import Live

own_site = admin.AdminSite("staff")
own_site.register(Live, LiveAdmin)

urlpatterns = [path("admin/", admin.site.urls), path("staff/", own_site.urls)]
