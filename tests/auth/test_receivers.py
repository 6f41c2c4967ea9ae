"""What a logout, or a change of a user, does where it cannot be told to other processes."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out

from tests.support.inprocess import Wire, until
from tests.support.servers import held_port
from tests.support.valkey import LAYERS

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.mark.parametrize("layer", LAYERS)
async def test_a_logout_in_an_event_loop_that_cannot_be_told_is_a_line_of_the_log(
    layer: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with held_port() as port:
        config = {"hosts": [f"redis://127.0.0.1:{port}/0"]}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYERS[layer], "CONFIG": config}}
        async with Wire():
            user_logged_out.send(sender=User, request=None, user=User(pk=7))
            await until(lambda: "could not be told to all processes at once: LayerUnavailable" in caplog.text)
