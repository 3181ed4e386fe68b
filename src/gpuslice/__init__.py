"""Cut and buy GPUs on Amazon EKS so that every workload gets what it needs at the least cost.

Importing this package loads nothing else: no solver, no cloud SDK, no Kubernetes client.
"""

__version__ = "0.1.0"
