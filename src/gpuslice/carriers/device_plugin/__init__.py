"""The NVIDIA device plugin's way: extended resources, overlays, node features, MIG."""
