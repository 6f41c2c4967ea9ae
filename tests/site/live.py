"""A site for the live page under load: the admin with its static files, and clients that name the user they are.

The path of a handshake is `/<number of the user>/?<rooms>`.
"""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
http = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402  # needs the apps
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.staticfiles.views import serve  # noqa: E402
from django.urls import re_path  # noqa: E402

from django_etp.consumers import EtpConsumer  # noqa: E402
from tests.support.admin_urls import urlpatterns as admin_patterns  # noqa: E402

cluster = EtpConsumer.as_asgi(namespace="cluster")


async def with_user(scope, receive, send):
    number = int(scope["path"].strip("/"))
    await cluster({**scope, "user": User(pk=number, username=f"user{number}")}, receive, send)


application = ProtocolTypeRouter({"http": http, "websocket": with_user})

urlpatterns = [*admin_patterns, re_path("^static/(?P<path>.*)$", serve, {"insecure": True})]
