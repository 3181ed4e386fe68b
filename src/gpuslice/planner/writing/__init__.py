"""A fleet becomes plan.yaml."""
