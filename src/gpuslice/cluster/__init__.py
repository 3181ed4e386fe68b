"""The API server: what a cluster runs, what is wrong in it, and a plan put into effect there."""
