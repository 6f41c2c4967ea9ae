"""The measured Django applications: ours and Channels' own, alone and inside the middleware that users have around."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402  # needs the apps

from benchmarks import consumers  # noqa: E402
from django_etp.consumers import EtpConsumer  # noqa: E402

etp_alone = EtpConsumer.as_asgi()
etp = AuthMiddlewareStack(etp_alone)
channels_text = AuthMiddlewareStack(consumers.TextConsumer.as_asgi())
channels_json = AuthMiddlewareStack(consumers.JsonConsumer.as_asgi())
