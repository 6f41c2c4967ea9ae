"""The measured Django applications, alone and inside the middleware of a usual project."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.contenders.site.settings")
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402  # needs the apps

from benchmarks.contenders import bare, consumers  # noqa: E402
from django_etp.consumers import EtpConsumer  # noqa: E402

bare_in_stack = AuthMiddlewareStack(bare.application)
etp_alone = EtpConsumer.as_asgi()
etp = AuthMiddlewareStack(etp_alone)
channels_text = AuthMiddlewareStack(consumers.TextConsumer.as_asgi())
channels_json = AuthMiddlewareStack(consumers.JsonConsumer.as_asgi())
