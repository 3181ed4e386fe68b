"""The API server: kubeconfig, requests, kinds, roles."""
