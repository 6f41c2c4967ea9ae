"""Orders, with relations of each kind."""

import uuid

from django.db import models


class Tag(models.Model):
    name = models.CharField(max_length=20)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    status = models.CharField(max_length=20, default="new")
    total = models.DecimalField(max_digits=9, decimal_places=2, default=0)
    team = models.CharField(max_length=20, blank=True)
    first = models.ForeignKey("self", models.SET_NULL, null=True, related_name="copies")
    tags = models.ManyToManyField(Tag, related_name="orders")
    related = models.ManyToManyField("self")

    def __str__(self) -> str:
        return f"order {self.pk}"


class PaidOrder(Order):
    class Meta:
        proxy = True


class Gift(Order):
    greeting = models.CharField(max_length=20, blank=True)


class Stamped(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        abstract = True


class Parcel(Stamped):
    label = models.FileField(upload_to="labels", blank=True)

    def __str__(self) -> str:
        return str(self.pk)
