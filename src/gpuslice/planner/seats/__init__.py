"""Workloads in several pools, by seats."""
