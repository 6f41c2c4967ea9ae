"""Logouts and changed users."""
