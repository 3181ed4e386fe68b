"""How a layout becomes something that a pod can ask for."""
