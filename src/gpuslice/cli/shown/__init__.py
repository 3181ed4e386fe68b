"""What verbs print, as tables for people: given values, no options."""
