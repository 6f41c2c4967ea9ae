"""Management commands of django_etp."""
