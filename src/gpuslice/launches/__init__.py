"""A plan for the model of Karpenter."""
