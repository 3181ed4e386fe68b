"""What there is to decide: classes of workloads, node options, patterns, pools, limits."""
