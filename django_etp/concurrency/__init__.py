"""Event loops, threads and tasks."""
