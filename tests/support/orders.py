"""Test the example's orders without a browser. `test_example_project.py` runs it under the example's settings."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.test import AsyncClient, Client

from django_etp.testing import EtpCommunicator
from example_project.orders.models import Order

pytestmark = pytest.mark.django_db

Communicator = type[EtpCommunicator]


@pytest.fixture
def admin() -> User:
    return User.objects.create_superuser("Ada")


def test_the_page_is_for_those_who_are_logged_in(client: Client, admin: User) -> None:
    assert client.get("/orders/").status_code == 302
    client.force_login(admin)
    assert client.get("/orders/").status_code == 200


async def test_changes_in_the_admin_reach_those_who_watch(etp_communicator: Communicator, admin: User) -> None:
    await Order.objects.acreate(customer="Grace", item="A kettle")
    browser = AsyncClient()
    await browser.aforce_login(admin)
    async with etp_communicator(user=admin) as client:
        (order,) = (await client.emit_with_ack("watch orders")).json()
        assert (order["item"], order["label"]) == ("A kettle", "New")
        url = f"/admin/orders/order/{order['pk']}/"
        await browser.post(f"{url}change/", {"customer": "Grace", "item": "Two kettles", "status": "paid"})
        assert (await client.expect_event("order")).json() == order | {
            "item": "Two kettles",
            "status": "paid",
            "label": "Paid",
        }
        await browser.post(f"{url}delete/", {"post": "yes"})
        assert (await client.expect_event("order")).json() == {"pk": order["pk"], "deleted": True}


async def test_a_change_that_is_rolled_back_reaches_no_one(etp_communicator: Communicator, admin: User) -> None:
    def fail() -> None:
        with transaction.atomic():
            Order.objects.create(customer="Grace", item="A kettle")
            raise ZeroDivisionError

    async with etp_communicator(user=admin) as client:
        await client.emit_with_ack("watch orders")
        with pytest.raises(ZeroDivisionError):
            await sync_to_async(fail)()
        await client.expect_nothing()


def test_the_staff_sees_the_contract_of_both_apps(admin: User) -> None:
    browser = Client()
    response = browser.get("/contract/default/")
    assert response["Location"] == "/admin/login/?next=/contract/default/"
    browser.force_login(admin)
    page = browser.get("/contract/default/").content.decode()
    assert "<h3><code>watch orders</code>" in page
    assert "example_project.chat.etp_events." in page
