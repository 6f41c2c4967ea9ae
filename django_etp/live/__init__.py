"""The live page in Django's admin: the connections, rooms and traffic of all processes, as they are now."""
