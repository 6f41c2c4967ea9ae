"""Changes of a loaded session are found by comparison with a copy."""

import copy
import pickle
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore

from django_etp.sessions.snapshot import Snapshot, apply_changes


def loaded(**content: Any) -> SessionStore:
    """Return a session with this content, loaded."""
    session = SessionStore()
    session._session_cache = content  # type: ignore[attr-defined]
    return session


def applied(changes: dict[str, Any], **content: Any) -> dict[str, Any]:
    """Return a content after the changes."""
    apply_changes(content, changes)
    return content


def test_nothing_has_changed_at_first() -> None:
    assert Snapshot(loaded(cart=[1], etp={"a": {}})).changes() == {}


def test_new_changed_and_removed_keys_are_found() -> None:
    session = loaded(stays=1, goes=1, cart=[1])
    snapshot = Snapshot(session)
    del session["goes"]
    session["new"] = 2
    session["cart"].append(2)
    changes = snapshot.changes()
    assert changes.keys() == {"goes", "new", "cart"}
    assert applied(changes, stays=7, goes=7, other=7) == {"stays": 7, "new": 2, "cart": [1, 2], "other": 7}


def test_changes_are_copies() -> None:
    session = loaded()
    snapshot = Snapshot(session)
    session["cart"] = [1]
    changes = snapshot.changes()
    session["cart"].append(2)
    assert changes == {"cart": [1]}


def test_the_data_of_connections_is_left_out() -> None:
    session = loaded(etp={"a": {}})
    snapshot = Snapshot(session)
    session["etp"] = {"b": {}}
    assert snapshot.changes() == {}


def test_changes_that_were_written_are_changes_no_more() -> None:
    session = loaded(goes=1)
    snapshot = Snapshot(session)
    del session["goes"]
    session["cart"] = [1]
    snapshot.update(snapshot.changes())
    assert snapshot.changes() == {}
    session["cart"].append(2)
    assert snapshot.changes() == {"cart": [1, 2]}


def test_all_is_new_to_an_empty_snapshot() -> None:
    assert Snapshot(loaded(cart=[1], etp={"a": {}}), is_empty=True).changes() == {"cart": [1]}


def test_the_same_expiry_set_again_is_a_change() -> None:
    session = loaded(_session_expiry=60)
    snapshot = Snapshot(session)
    assert snapshot.changes() == {}
    session.set_expiry(60)
    snapshot.update(changes := snapshot.changes())
    assert changes == {"_session_expiry": 60}
    assert snapshot.changes() == {}
    session.set_expiry(60)
    assert snapshot.changes() == {"_session_expiry": 60}


def test_an_expiry_leaves_the_session_as_a_plain_int() -> None:
    session = loaded(_session_expiry=60)
    Snapshot(session)
    expiry = session["_session_expiry"]
    assert type(copy.deepcopy(expiry)) is type(pickle.loads(pickle.dumps(expiry))) is int


@pytest.mark.parametrize("old", [{}, {"bad": 1}], ids=["new-key", "old-key"])
def test_a_value_that_the_serializer_cannot_hold_is_put_back(old: dict[str, Any]) -> None:
    session = loaded(**old)
    snapshot = Snapshot(session)
    session["bad"] = object()
    session["good"] = 1
    with pytest.raises(TypeError, match=r"connection\.session\['bad'\] must be a value that SESSION_SERIALIZER"):
        snapshot.changes()
    assert session._session_cache == {**old, "good": 1}  # type: ignore[attr-defined]
    assert snapshot.changes() == {"good": 1}


class Moving(dict[str, int]):
    """Changes while it is copied, the first times."""

    copies = 0

    def __deepcopy__(self, memo: Any) -> dict[str, int]:
        Moving.copies += 1
        if Moving.copies % 4:
            raise RuntimeError("dictionary changed size during iteration")
        return dict(self)


def test_a_value_that_a_thread_changes_meanwhile_is_copied_again() -> None:
    session = loaded()
    snapshot = Snapshot(session)
    session["cart"] = Moving(tea=1)
    assert snapshot.changes() == {"cart": {"tea": 1}}
    assert Moving.copies == 4
