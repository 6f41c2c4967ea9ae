"""Presence: list the users in a declared room, over all processes. Only a project that uses it imports this package."""
