"""What a live cluster, or a dump of one, has."""
