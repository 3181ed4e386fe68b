"""Replays of demand over time against policies: what they would have cost, and who would have waited."""
