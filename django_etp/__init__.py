"""Real-time events, rooms and acknowledgements for Django, over the Event Transport Protocol."""

__version__ = "0.1.0"
