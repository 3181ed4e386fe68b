"""plan.yaml: the artefact between planner and everything after it."""
