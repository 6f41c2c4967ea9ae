"""What is taken off the `send` that a consumer gets; what is put around it is tested with real servers."""

from channels.sessions import InstanceSessionWrapper

from django_etp.connections.asgi import past_session_middleware


async def send(message):
    """Stand for a server's."""


class Careful(InstanceSessionWrapper):
    """A project's own middleware."""

    async def send(self, message):
        await super().send(message)


def test_session_middleware_is_passed_by():
    assert past_session_middleware(InstanceSessionWrapper({"cookies": {}}, send).send) is send


def test_a_projects_own_session_middleware_stays():
    wrapped = Careful({"cookies": {}}, send).send
    assert past_session_middleware(wrapped) == wrapped


def test_a_servers_own_send_stays():
    assert past_session_middleware(send) is send
