"""Servers, a broker, clients and comparisons, which measure the workloads."""
