"""Benchmarks: how long the commands take, and what the plans cost. Nothing here is a test, and no time fails it."""
