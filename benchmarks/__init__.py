"""Speed, side by side: `python -m benchmarks` measures django_etp and others on the same servers."""
