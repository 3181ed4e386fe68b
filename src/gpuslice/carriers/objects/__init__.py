"""Kubernetes objects as files, and their names."""
