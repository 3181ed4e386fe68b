"""Every way in: artefact, manifests, traces. All of them end in `Workload`."""
