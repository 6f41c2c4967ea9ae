"""Orders of a small shop."""

from typing import Any

from django.db import models


class Order(models.Model):
    class Status(models.TextChoices):
        NEW = "new", "New"
        PAID = "paid", "Paid"
        SENT = "sent", "Sent"

    customer = models.CharField(max_length=40)
    item = models.CharField(max_length=80)
    status = models.CharField(max_length=10, choices=Status, default=Status.NEW)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.item} for {self.customer}"

    def as_payload(self) -> dict[str, Any]:
        """Return the data that browsers receive."""
        return {
            "pk": self.pk,
            "customer": self.customer,
            "item": self.item,
            "status": self.status,
            "label": str(self.Status(self.status).label),
        }
