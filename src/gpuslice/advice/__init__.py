"""What explains a plan, and what would make it cheaper."""
