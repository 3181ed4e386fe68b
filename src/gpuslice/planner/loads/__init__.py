"""What one node can carry, and what that is worth."""
