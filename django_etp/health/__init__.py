"""Answers to health checks: whether this process serves, and whether what it depends on answers."""
