"""Patterns of rooms as addresses, shapes and types."""

import pytest

from django_etp.contract.names import address_of, converters_of, may_lose_names, shape_of, template_of


def test_parts_of_a_pattern() -> None:
    pattern = "orders/<int:pk>/<name>"
    assert converters_of(pattern) == {"pk": "int", "name": "str"}
    assert address_of(pattern) == "orders/{pk}/{name}"
    assert shape_of(pattern) == shape_of("orders/<slug:id>/<other>") != shape_of("orders/<pk>")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a/<int:pk>", "a/<int:id>", False),
        ("a/<int:pk>", "a/<slug:pk>", False),
        ("a/<uuid:pk>", "a/<str:pk>", False),
        ("a/<pk>", "a/<path:pk>", False),
        ("a/<slug:pk>", "a/<int:pk>", True),
        ("a/<path:pk>", "a/<str:pk>", True),
        ("a/<int:pk>", "a/<year:pk>", True),
        ("a/<year:pk>", "a/<year:pk>", False),
    ],
)
def test_whether_a_pattern_may_lose_names(old: str, new: str, expected: bool) -> None:
    assert may_lose_names(old, new) is expected


@pytest.mark.parametrize(
    ("pattern", "template"),
    [
        ("lobby", "`lobby`"),
        ("orders/<int:pk>", "`orders/${number}`"),
        ("<slug:a>-<b>.x", "`${string}-${string}.x`"),
        ("a`${b}\\<int:c>", "`a\\`\\${b}\\\\${number}`"),
    ],
)
def test_templates(pattern: str, template: str) -> None:
    assert template_of(pattern) == template
