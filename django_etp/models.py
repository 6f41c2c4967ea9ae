"""A model without a table: it gives the live page its permissions, and its place in the admin."""

from django.db import models

__all__ = ["Live"]


class NoRows(models.Manager["Live"]):
    """Finds nothing, without a query. Commands such as ``dumpdata`` go through the models of all apps."""

    def get_queryset(self) -> models.QuerySet["Live"]:
        """See Manager.get_queryset()."""
        return super().get_queryset().none()


class Live(models.Model):
    """The live page. An instance is what an action was for, in the admin's log.

    Attributes:
        id: describes it, such as ``"room lobby"``.
    """

    id = models.CharField(max_length=200, primary_key=True)

    objects = NoRows()

    class Meta:
        managed = False
        default_permissions = ("view", "change")
        base_manager_name = "objects"
        verbose_name = verbose_name_plural = "live page"

    def __str__(self) -> str:
        return str(self.id)
