"""EC2's GPU instance types: sizes, what Kubernetes can allocate of them, prices. A snapshot, and its refresh."""
