"""The namespace "cluster" for users: the query string holds the key of the connection's user."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
http = get_asgi_application()

from django.contrib.auth import get_user_model  # noqa: E402  # needs the apps

from django_etp.consumers import EtpConsumer  # noqa: E402

cluster = EtpConsumer.as_asgi(namespace="cluster")


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return await http(scope, receive, send)
    User = get_user_model()
    user = User(pk=User._meta.pk.to_python(scope["query_string"].decode()))
    await cluster({**scope, "user": user}, receive, send)
