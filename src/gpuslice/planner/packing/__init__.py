"""The cheapest whole nodes."""
