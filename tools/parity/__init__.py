"""The model of Karpenter beside the real one: many random scenarios through both."""
