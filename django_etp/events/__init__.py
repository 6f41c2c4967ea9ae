"""Events and their handlers."""
