"""Losses count, whether somebody looks or not."""

from django_etp import MessagesLost
from django_etp.live.losses import Losses, connect_receivers, losses
from django_etp.signals import messages_lost, slow_client_closed


def test_losses_are_added_up_and_the_last_ones_kept() -> None:
    counted = Losses()
    for number in range(25):
        error = MessagesLost("lost", messages=2, frames=number, room=f"room {number}", namespace="game")
        counted.count_messages(error=error)
    counted.count_messages(error=MessagesLost("lost", messages=1, frames=1))
    counted.count_slow_client(connection=None)
    assert (counted.messages, counted.events, counted.slow_clients) == (51, 301, 1)
    assert [loss[1:] for loss in counted.last][-2:] == [("game", "room 24", 24), ("", "", 1)]
    assert len(counted.last) == 20


def test_the_signals_are_received_once_in_a_process_with_the_admin() -> None:
    before = losses.messages, losses.slow_clients
    connect_receivers()  # as the app did
    messages_lost.send(None, error=MessagesLost("lost", messages=3, frames=4))
    slow_client_closed.send(None, connection=None)
    assert (losses.messages, losses.slow_clients) == (before[0] + 3, before[1] + 1)
