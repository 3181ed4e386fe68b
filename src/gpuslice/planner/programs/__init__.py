"""Linear and integer programmes, and their solver."""
