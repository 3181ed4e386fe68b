"""Recomputes every promise of a plan, apart from all that makes plans."""
