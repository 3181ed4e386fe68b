"""What GPUs are and what can be cut from them: models, MIG geometry, sharing behaviour, and `fit`. Pure."""
