"""The logic of the Configure screen without widgets: checks, devices, estimate, command, help."""
