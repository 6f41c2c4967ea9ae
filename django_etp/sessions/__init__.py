"""Connection data in the Django session."""
