"""From a plan to Kubernetes objects. Pure and deterministic: the same plan renders the same bytes."""
