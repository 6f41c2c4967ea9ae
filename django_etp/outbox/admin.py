"""The outbox in Django's admin, for reading: events that wait, those that failed, and an action to send these again."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from .models import OutboxEvent
from .rows import retry

__all__ = ["OutboxEventAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[OutboxEvent]
else:
    _ModelAdmin = admin.ModelAdmin  # Django's class takes no type argument when it runs


class StateFilter(admin.SimpleListFilter):
    """Waiting, retried or failed events."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """See SimpleListFilter.lookups()."""
        return [("waiting", "waits"), ("retried", "is tried again"), ("failed", "failed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        """See SimpleListFilter.queryset()."""
        match self.value():
            case "waiting":
                return queryset.filter(failed_at=None)
            case "retried":
                return queryset.filter(failed_at=None, attempts__gt=0)
            case "failed":
                return queryset.exclude(failed_at=None)
        return queryset


@admin.register(OutboxEvent)
class OutboxEventAdmin(_ModelAdmin):
    """Durable events. They cannot be added or changed; users with the permission to change them may retry."""

    list_display = ("id", "event", "room_list", "created_at", "waits_for", "attempts", "state", "error")
    list_filter = (StateFilter, "namespace", "event")
    search_fields = ("event", "rooms", "error")
    ordering = ("id",)
    exclude = ("payload", "key", "sender")
    actions = ("retry_failed",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: events are not added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: OutboxEvent | None = None) -> bool:
        """Refuse: events are not changed here."""
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may let failed events be sent again."""
        return bool(request.user.has_perm("django_etp_outbox.change_outboxevent"))

    @admin.display(description="rooms")
    def room_list(self, event: OutboxEvent) -> str:
        """Return the names of the rooms."""
        return ", ".join(event.room_names)

    @admin.display(description="age")
    def waits_for(self, event: OutboxEvent) -> timedelta:
        """Return the age, without fractions of a second."""
        return timedelta(seconds=round(event.age.total_seconds()))

    @admin.display(description="state")
    def state(self, event: OutboxEvent) -> str:
        """Return whether the event waits, is tried again, or failed."""
        if event.failed_at is not None:
            return "failed"
        return "is tried again" if event.attempts else "waits"

    @admin.action(description="Send the selected events that failed again", permissions=["retry"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> None:
        """Send events again that the relay has given up."""
        count = retry(queryset.exclude(failed_at=None))
        self.message_user(request, f"{count} events will be sent again.", messages.SUCCESS)
