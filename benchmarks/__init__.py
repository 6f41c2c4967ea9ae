"""Compare the speed of django_etp and others on the same servers: `python -m benchmarks`."""
