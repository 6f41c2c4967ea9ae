"""The workloads that are measured."""
