"""Which pool each workload goes to, by what Karpenter will launch."""
