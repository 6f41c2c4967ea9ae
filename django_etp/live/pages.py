"""The contents of the live page, as plain values for its script.

If a process does not reply in time, a page has the rows of the others, and the problem.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar, cast

from django.http import QueryDict

from django_etp.exceptions import IncompleteAnswer, LayerUnavailable
from django_etp.hub.queries import HubQuery
from django_etp.rooms.calls import Calls

from .paging import Page
from .queries import GetDetails, GetSummary, ListConnections, ListRooms
from .rows import ConnectionRow

__all__ = ["connection", "connections", "find", "room", "rooms"]

# The rows of a page.
_SIZE = 50
_LONGEST_SEARCH = 200

_T = TypeVar("_T")


def connections(parameters: QueryDict) -> dict[str, Any]:
    """Return a page of connections.

    The parameters of the URL are ``q``, the search, and ``after`` or ``before``, twice: the key of the page.

    Raises:
        ValueError: a parameter is wrong.
    """
    return _connections_page(parameters)


def room(parameters: QueryDict) -> dict[str, Any]:
    """Return a page of the members of a room, by ``namespace`` and ``name``. See connections()."""
    return _connections_page(parameters, parameters.get("namespace", ""), parameters.get("name", ""))


def rooms(parameters: QueryDict) -> dict[str, Any]:
    """Return a page of rooms. See connections()."""
    query = ListRooms("", *_wanted(parameters), _SIZE)
    return _page(parameters, query, lambda row: row.key)


def connection(parameters: QueryDict) -> dict[str, Any]:
    """Return a connection, by ``id``; the value of ``"row"`` is ``None`` if it is gone."""
    details, problem = _ask(GetDetails("", parameters.get("id", "")))
    return (asdict(details) if details else {"row": None}) | {"problem": problem}


def find(connection_id: str) -> ConnectionRow | None:
    """Return the facts about a connection; ``None`` if it is gone, or its process does not reply."""
    details, _ = _ask(GetDetails("", connection_id))
    return None if details is None else details.row


def _connections_page(parameters: QueryDict, namespace: str = "", name: str | None = None) -> dict[str, Any]:
    query = ListConnections("", *_wanted(parameters), _SIZE, namespace, name)
    return _page(parameters, query, lambda row: (repr(row.connected_at), row.id))


def _wanted(parameters: QueryDict) -> tuple[str, tuple[str, ...], int]:
    before = parameters.getlist("before")
    key = before or parameters.getlist("after")
    return parameters.get("q", "")[:_LONGEST_SEARCH], tuple(key), int(bool(before))


def _page(parameters: QueryDict, query: HubQuery[Page[Any]], key_of: Callable[[Any], Sequence[str]]) -> dict[str, Any]:
    page, problem = _ask(query)
    summary, other_problem = _ask(GetSummary(""))
    rows = page.rows

    def link(name: str, row: Any) -> str:
        wanted = QueryDict(mutable=True)
        wanted.update({each: parameters.get(each, "") for each in ("q", "namespace", "name") if each in parameters})
        wanted.setlist(name, list(key_of(row)))
        return f"?{wanted.urlencode()}"

    return {
        "rows": [asdict(row) for row in rows],
        "start": page.start,
        "total": page.total,
        "previous": link("before", rows[0]) if rows and page.has_previous else None,
        "next": link("after", rows[-1]) if rows and page.has_next else None,
        "summary": asdict(summary),
        "problem": problem or other_problem,
    }


def _ask(query: HubQuery[_T]) -> tuple[_T, str]:
    """Return the answer to a query, and why it is not that of all processes, or ``""``."""
    try:
        return Calls(query.namespace).ask("live", query, None), ""
    except IncompleteAnswer as error:
        # The answer of a query about one connection is None, like that about one which is gone.
        return cast(_T, error.answer), str(error)
    except LayerUnavailable as error:
        return query.merge([]), str(error)
