"""Events of models: which changes send what to which room."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core import serializers
from django.core.exceptions import FieldDoesNotExist
from django.core.management import call_command
from django.db.models import F
from django.db.transaction import atomic
from rest_framework.serializers import ModelSerializer

from django_etp import Connection, InvalidEventName, InvalidPayload, InvalidRoomName, etp_room, model_events
from django_etp.rooms import model_events as module
from tests.depot.models import Gift, Order, PaidOrder, Parcel, Stamped, Tag
from tests.support.declared import guest
from tests.support.rooms import clients

pytestmark = [pytest.mark.usefixtures("etp_registry"), pytest.mark.django_db]

Heard = list[tuple[str, Any, Any]]


@pytest.fixture
def watch() -> Iterator[Callable[..., None]]:
    """model_events(), until the test is over."""
    begun: list[Any] = []
    yield lambda *arguments, **options: begun.append(model_events(*arguments, **options))
    for each in begun:
        each.stop()


async def heard(work: Callable[[], Any], *rooms: str) -> Heard:
    """Return what the members of each room hear of a function: the change, and the key and the fields of the row."""
    names = rooms or ("orders",)
    async with clients(*names) as members:
        await sync_to_async(work)()
        result = []
        for member in members:
            while not member._frames.empty():
                data = (await member.expect_event()).json()
                result.append((data["change"], data.get("pk"), data.get("fields")))
        return result


async def test_rows_that_are_created_updated_and_deleted_send_events(watch: Any):
    watch(Order, room="orders", fields=["status", "total", "first", "tags"])

    def work() -> None:
        order = Order.objects.create(total=Decimal("7.50"))
        order.status = "paid"
        order.save()
        Order.objects.filter(pk=order.pk).delete()

    row = {"status": "new", "total": "7.50", "first": None, "tags": []}
    (created, updated, deleted) = await heard(work)
    assert created == ("created", created[1], row)
    assert updated == ("updated", created[1], row | {"status": "paid"})
    assert deleted == ("deleted", created[1], {})


async def test_a_transaction_sends_one_event_for_a_row(watch: Any):
    watch(Order, room="orders", fields=["status"])

    def work() -> None:
        with atomic():
            order = Order.objects.create()
            Order.objects.create(status="deleted at once").delete()
            for number in range(500):
                order.status = str(number)
                order.save()
            try:
                with atomic():
                    order.status = "undone"
                    order.save()
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    assert [(change, fields) for change, _, fields in await heard(work)] == [("created", {"status": "499"})]


async def test_by_default_no_field_is_sent(watch: Any):
    watch(Order, room="orders", event="touched")
    ((change, _, fields),) = await heard(Order.objects.create)
    assert (change, fields) == ("created", {})


async def test_a_serializer_or_a_function_may_give_the_fields(watch: Any):
    class OrderSerializer(ModelSerializer[Order]):
        class Meta:
            model = Order
            fields = ("status", "tags")

    watch(Order, room="orders", serializer=OrderSerializer)
    watch(Order, room="texts", serializer=lambda order: f"it is {order.status}")
    assert [fields for _, _, fields in await heard(Order.objects.create, "orders", "texts")] == [
        {"status": "new", "tags": []},
        "it is new",
    ]


async def test_a_row_that_moves_is_deleted_in_the_old_room_and_created_in_the_new_one(watch: Any):
    watch(Order, room=lambda order: order.team or None, fields=["status"])

    def work() -> None:
        order = Order.objects.create()
        order.team = "a"
        order.save()
        order.save()
        order.team = "b"
        order.save()
        Order(pk=order.pk, team="a").save()
        order.team = ""
        order.save()

    assert [change for change, _, _ in await heard(work, "a")] == [
        "created",
        "updated",
        "deleted",
        "created",
        "deleted",
    ]
    assert [change for change, _, _ in await heard(work, "b")] == ["created", "deleted"]


async def test_a_row_is_deleted_in_the_room_that_it_has_in_the_database(watch: Any):
    watch(Order, room=lambda order: order.team)

    def work() -> None:
        order = Order.objects.create(team="a")
        Order.objects.filter(pk=order.pk).update(team="b")  # by another process, say
        order.team = "c"
        order.delete()

    assert [change for change, _, _ in await heard(work, "b")] == ["deleted"]
    assert await heard(work, "c") == []


async def test_a_row_may_be_in_several_rooms(watch: Any):
    watch(Order, room=lambda order: ["orders", f"team/{order.team}", "orders"])
    assert len(await heard(lambda: Order.objects.create(team="x"), "orders team/x")) == 1


async def test_the_event_describes_the_row_in_the_database(watch: Any):
    watch(Order, room=lambda order: ["orders", order.team], fields=["status", "total"])

    def work() -> None:
        order = Order.objects.create(team="a")
        order.status, order.total, order.team = "not saved", Decimal(9), "b"
        order.save(update_fields=["status"])
        order = Order.objects.get()
        order.total = F("total") + 5
        order.save()

    events = await heard(work, "a b")
    assert [fields for _, _, fields in events[1:]] == [
        {"status": "not saved", "total": "0.00"},
        {"status": "not saved", "total": "5.00"},
    ]


@pytest.mark.parametrize("callable_room", [False, True])
async def test_changes_of_a_many_to_many_relation_are_updates(watch: Any, callable_room: bool):
    watch(Order, room=(lambda order: "orders") if callable_room else "orders", fields=["tags"])

    def work() -> None:
        first, second, tag, other = Order(), Order(), Tag(name="a"), Tag(name="b")
        for each in (first, second, tag, other):
            each.save()
        first.tags.add(tag, other)
        first.tags.add(tag)  # changes nothing
        first.tags.remove(tag)
        tag.orders.set([first, second])
        tag.orders.clear()
        second.tags.clear()

    events = (await heard(work))[2:]
    first = events[0][1]
    assert [(change, pk - first, len(fields["tags"])) for change, pk, fields in events] == [
        ("updated", 0, 2),
        ("updated", 0, 1),
        ("updated", 0, 2),
        ("updated", 1, 1),
        ("updated", 0, 1),
        ("updated", 1, 0),
        ("updated", 1, 0),
    ]


async def test_a_room_may_depend_on_a_many_to_many_relation(watch: Any):
    watch(Order, room=lambda order: [tag.name for tag in order.tags.all()] if order.pk else None)

    def work() -> None:
        order, tag, other = Order.objects.create(), Tag.objects.create(name="a"), Tag.objects.create(name="b")
        order.tags.add(tag)
        order.tags.set([other])
        order.delete()

    assert [change for change, _, _ in await heard(work, "a", "b")] == ["created", "deleted", "created", "deleted"]


async def test_a_symmetrical_relation_updates_the_row_that_it_was_changed_through(watch: Any):
    watch(Order, room="orders", fields=["related"])

    def work() -> None:
        first, second = Order.objects.create(), Order.objects.create()
        first.related.add(second)
        second.related.clear()

    assert [len(fields["related"]) for _, _, fields in await heard(work)] == [0, 0, 1, 0]


@pytest.mark.parametrize("model", [Order, PaidOrder])
async def test_changes_through_proxies_and_children_count(watch: Any, model: Any):
    watch(model, room="orders", fields=["status"])

    def work() -> None:
        order = PaidOrder.objects.create(status="proxy")
        Order.objects.get(pk=order.pk).delete()
        Gift.objects.create(status="child").delete()
        gift = Gift.objects.create(status="as parent")
        Order.objects.get(pk=gift.pk).delete()

    assert [change for change, _, _ in await heard(work)] == ["created", "deleted"] * 3


async def test_a_child_has_events_of_its_own_rows(watch: Any):
    watch(Gift, room="orders", fields=["status", "greeting"])

    def work() -> None:
        Order.objects.create()
        gift = Gift.objects.create(greeting="hello")
        Order.objects.get(pk=gift.pk).delete()

    assert [(change, fields) for change, _, fields in await heard(work)] == [
        ("created", {"status": "new", "greeting": "hello"}),
        ("deleted", {}),
    ]


async def test_an_abstract_model_stands_for_its_children(watch: Any):
    watch(Stamped, room="orders", serializer=lambda parcel: parcel.label.name)
    watch(Parcel, room="orders", fields=["label"])
    first, second = await heard(lambda: Parcel.objects.create(label="labels/x.pdf"))
    assert first[2] == "labels/x.pdf"
    assert second[2] == {"label": "labels/x.pdf"}


async def test_rows_deleted_with_another_are_deleted_or_updated(watch: Any):
    watch(Gift, room="orders")
    assert [change for change, _, _ in await heard(lambda: (Gift.objects.create(), Order.objects.all().delete()))] == [
        "created",
        "deleted",
    ]


async def test_more_than_1000_rows_are_one_event(watch: Any):
    watch(Tag, room="orders", fields=["name"])

    def work() -> None:
        Tag.objects.bulk_create(Tag(name=str(number)) for number in range(1001))
        Tag.objects.all().delete()

    assert await heard(work) == [("many", None, None)]


async def test_changes_without_signals_and_fixtures_send_nothing(watch: Any, tmp_path: Any):
    def work() -> None:
        Order.objects.bulk_create([Order()])
        Order.objects.update(status="paid")
        order = Order.objects.get()
        order.tags.add(Tag.objects.create(name="a"))
        fixture = tmp_path / "orders.json"
        fixture.write_text(serializers.serialize("json", [*Tag.objects.all(), order]))
        order.delete()
        watch(Order, room="orders")
        call_command("loaddata", str(fixture), stdout=StringIO())
        assert Order.objects.get().tags.count() == 1

    assert await heard(work) == []


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (["orders"], {"room": "orders"}, TypeError),
        ([Order], {"room": 7}, InvalidRoomName),
        ([Order], {"room": "__user.1"}, InvalidRoomName),
        ([Order], {"room": "orders", "event": "__x"}, InvalidEventName),
        ([Order], {"room": "orders", "fields": "status"}, TypeError),
        ([Order], {"room": "orders", "fields": ["nothing"]}, FieldDoesNotExist),
        ([Order], {"room": "orders", "fields": ["copies"]}, TypeError),
        ([Order], {"room": "orders", "fields": ["status"], "serializer": str}, TypeError),
        ([Order], {"room": "orders", "serializer": "status"}, TypeError),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, options: Any, error: type[Exception]):
    with pytest.raises(error):
        model_events(*arguments, **options)


async def test_models_that_are_named_early_wait_until_all_are_loaded(monkeypatch: pytest.MonkeyPatch):
    class Loading:
        models_ready = False

    monkeypatch.setattr(module, "apps", Loading)
    events = model_events(Order, room="orders")
    monkeypatch.undo()
    assert await heard(Order.objects.create) == []
    module.connect_waiting()
    assert len(await heard(Order.objects.create)) == 1
    events.stop()
    assert await heard(Order.objects.create) == []


def test_a_value_that_cannot_be_sent_fails_the_save(watch: Any):
    watch(Order, room="orders", serializer=lambda order: object())
    with pytest.raises(InvalidPayload), atomic():
        Order.objects.create()
    assert not Order.objects.exists()


async def test_clients_that_joined_a_declared_room_get_the_events_inside_it(watch: Any):
    @etp_room("orders")
    async def order_room(connection: Connection) -> None: ...

    watch(Order, room=order_room(), fields=["status"])
    async with guest() as client:
        room = await client.join("orders")
        await sync_to_async(Order.objects.create)(total=Decimal("7.50"))
        assert (await room.expect_event()).json()["change"] == "created"
