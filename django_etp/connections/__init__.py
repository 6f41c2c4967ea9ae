"""One client's connection."""
