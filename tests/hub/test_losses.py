"""Messages that the channel layer lost, as the application is notified of them."""

import pytest
from django.contrib.auth.models import User

from django_etp import Connection, MessagesLost, on_connect, on_error, rooms
from django_etp.cluster.gaps import Loss
from django_etp.conf.layer_names import hub_group
from django_etp.hub.losses import describe_loss
from django_etp.hub.membership import Membership
from django_etp.hub.names import group_name, user_room
from django_etp.hub.process import serving_hub
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry")


def tell_losses(*namespaces: str) -> list[tuple[str, MessagesLost]]:
    """Return a list that will hold what on_error of each namespace is told of losses."""
    told: list[tuple[str, MessagesLost]] = []
    for namespace in namespaces:

        @on_error(namespace=namespace)
        async def keep(connection: Connection | None, error: Exception, namespace: str = namespace) -> None:
            assert connection is None
            assert isinstance(error, MessagesLost)
            told.append((namespace, error))

    return told


async def lose(group: str) -> None:
    """Do as where the layer has lost two messages with three events to a group."""
    hub = serving_hub()
    hub.report_loss(Loss(group, 2, 3))
    await hub.settle(10)


async def test_a_loss_of_what_went_to_single_connections_is_told_to_all_namespaces_that_have_had_any() -> None:
    told = tell_losses("default", "game", "left", "never")
    async with Wire(namespace="left"):
        pass
    async with Wire(), Wire(namespace="game"):
        group = hub_group(serving_hub().id)
        await lose(group)
    assert sorted(namespace for namespace, _ in told) == ["default", "game", "left"]
    for _, error in told:
        assert "2 messages with 3 events" in str(error)
        assert "sent to single connections." in str(error)
        assert (error.group, error.messages, error.frames) == (group, 2, 3)
    assert all((error.namespace, error.room) == (namespace, None) for namespace, error in told)


@pytest.mark.parametrize(("room", "words"), [("lobby", "of room 'lobby'."), (None, "of the whole namespace.")])
async def test_a_loss_of_a_room_is_told_to_its_namespace_alone(room: str | None, words: str) -> None:
    told = tell_losses("default", "game")

    @on_connect(namespace="game")
    async def join(connection: Connection) -> None:
        await connection.ajoin("lobby")

    async with Wire(), Wire(namespace="game"):
        await lose(group_name("game", room))
    ((namespace, error),) = told
    assert namespace == "game"
    assert words in str(error)
    assert (error.namespace, error.room) == ("game", room)


async def test_a_loss_of_a_room_that_was_left_meanwhile_does_not_claim_the_whole_namespace() -> None:
    told = tell_losses("default", "game")
    async with Wire(namespace="game"):
        await lose(group_name("game", "left"))
    ((_, error),) = told
    assert "of a room that has no members here any more." in str(error)
    assert (error.namespace, error.room) == (None, None)


async def test_a_hook_may_send_to_the_room_of_a_user_that_it_is_told_of() -> None:
    async with Wire(user=User(pk=7, username="ada")):
        (error,) = describe_loss(Loss(group_name("default", user_room(7)), 2, 3), serving_hub().membership)
        assert error.room is not None
        assert [info.user_id for info in await rooms.amembers(error.room)] == [7]


@pytest.mark.parametrize("group", [hub_group("0123456789abcdef"), group_name("game", "left")])
def test_a_loss_where_no_namespace_is_known_is_described_all_the_same(group: str) -> None:
    (error,) = describe_loss(Loss(group, 2, 3), Membership())
    assert (error.namespace, error.group, error.messages, error.frames) == (None, group, 2, 3)
