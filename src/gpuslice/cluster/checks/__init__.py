"""The checks of a cluster, one module for each part of it that they look at."""
