"""Read a connection's user, tenant and extensions from its ASGI scope."""

from typing import Any

from django_etp import tenancy
from django_etp.hub.names import user_key
from django_etp.protocol.frames import ROOMS_SUBPROTOCOL, SUBPROTOCOL
from django_etp.sessions.lazy import unwrapped

__all__ = ["extensions_of", "identity_of", "schema_of", "tenant_of", "user_id_of"]


def user_id_of(scope: dict[str, Any]) -> Any:
    """Return the primary key of the user; ``None`` for an anonymous one."""
    user = unwrapped(scope.get("user"))
    return user_key(user) if getattr(user, "is_authenticated", True) else None


def identity_of(scope: dict[str, Any], user_id: Any) -> Any:
    """Return the name of the user that is unique in the site, tenants included; ``None`` for an anonymous one.

    ``user_id`` is what user_id_of() returns.
    """
    if user_id is None or not tenancy.has_tenants():
        return user_id
    return tenancy.identity(unwrapped(scope.get("user")), user_id, schema_of(scope))


def tenant_of(scope: dict[str, Any]) -> object:
    """Return the tenant that a middleware put into the scope, or the schema of the user; ``None`` for no tenant."""
    if not tenancy.has_tenants():
        return None
    tenant = unwrapped(scope.get("tenant"))
    if tenancy.schema_name(tenant):
        return tenant
    if hasattr(tenant, "schema_name"):  # the public one
        return None
    return tenancy.user_schema(unwrapped(scope.get("user"))) or None


def schema_of(scope: dict[str, Any]) -> str:
    """Return the name of the schema of the tenant; ``""`` for the public one, and for no tenant."""
    return tenancy.schema_name(tenant_of(scope))


def extensions_of(scope: dict[str, Any]) -> str | None:
    """Return the subprotocol of the extensions that the client offered, the later one of two; ``None`` for none."""
    offered = scope.get("subprotocols", ())
    if ROOMS_SUBPROTOCOL in offered:
        return ROOMS_SUBPROTOCOL
    return SUBPROTOCOL if SUBPROTOCOL in offered else None
