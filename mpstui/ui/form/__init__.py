"""What the Configure screen knows without drawing: checks, devices, estimate, command, help."""
