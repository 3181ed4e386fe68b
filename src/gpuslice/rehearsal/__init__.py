"""A scratch cluster on loopback: a real control plane and real Karpenter, on an EC2 and nodes that are played."""
