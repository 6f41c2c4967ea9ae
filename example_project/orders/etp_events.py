"""The events of the orders' page: it joins a room, and hears of each change when the transaction commits.

The events are durable: they are stored in the same transaction as the order, and survive a crash of the server or the
broker.
"""

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from django_etp import Connection, Event, etp_event, rooms

from .models import Order

ROOM = "orders"


@etp_event("watch orders")
def watch(connection: Connection, event: Event) -> list[dict[str, Any]]:
    """Join the room, then return all orders, so that no change between the two is missed."""
    connection.join(ROOM)
    return [order.as_payload() for order in Order.objects.all()]


@receiver(post_save, sender=Order)
def saved(instance: Order, **kwargs: Any) -> None:
    """Send the order as it is now. With the key, many saves in one transaction are one event."""
    rooms.emit_on_commit(ROOM, "order", instance.as_payload(), key=instance.pk, durable=True)


@receiver(post_delete, sender=Order)
def deleted(instance: Order, **kwargs: Any) -> None:
    """Send that the order is gone. It takes the place of an earlier event of the transaction, too."""
    rooms.emit_on_commit(ROOM, "order", {"pk": instance.pk, "deleted": True}, key=instance.pk, durable=True)
