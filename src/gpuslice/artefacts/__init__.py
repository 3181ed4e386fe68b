"""Files that people read, diff and commit: read strictly, written whole or not at all."""
