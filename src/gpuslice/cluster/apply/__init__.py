"""Carrying a plan out on a live cluster, and back."""
