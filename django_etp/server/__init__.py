"""Serving connections."""
