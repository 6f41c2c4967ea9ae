"""Calls of the rooms API from both sides, as in the tests of rooms."""

from tests.rooms.conftest import call as call
