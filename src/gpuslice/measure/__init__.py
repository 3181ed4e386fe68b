"""What workloads need, read off what they do: from Prometheus, from a trace, or on a GPU itself."""
