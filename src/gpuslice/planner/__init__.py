"""From workloads and a catalog to the cheapest safe plan, its proof, and its reasons. Pure."""
