"""Route `/ws/` and `/` to the reference server, other paths to other namespaces, and HTTP to Django.

Paths below `/bare/` have no sessions and users, because that middleware halves the speed of a flood.
"""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  # needs the apps
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from django_etp.consumers import EtpConsumer  # noqa: E402

reference = EtpConsumer.as_asgi()
misbehaving = EtpConsumer.as_asgi(namespace="misbehaving")
cluster = EtpConsumer.as_asgi(namespace="cluster")
visits = EtpConsumer.as_asgi(namespace="visits")
failing = EtpConsumer.as_asgi(namespace="failing")
delimited = EtpConsumer.as_asgi(trailing_delimiter=True)
tokens = EtpConsumer.as_asgi(subprotocols=["access_token"])

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": URLRouter(
            [
                path("bare/cluster/", cluster),
                re_path(
                    "",
                    AuthMiddlewareStack(
                        URLRouter(
                            [
                                path("", reference),
                                path("ws/", reference),
                                path("misbehaving/", misbehaving),
                                path("cluster/", cluster),
                                path("visits/", visits),
                                path("failing/", failing),
                                path("delimited/", delimited),
                                path("tokens/", tokens),
                            ]
                        )
                    ),
                ),
            ]
        ),
    }
)
