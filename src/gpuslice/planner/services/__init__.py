"""How many replicas of which slice a service sized by its load gets."""
