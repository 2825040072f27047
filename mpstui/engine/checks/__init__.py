"""Checks of the device against the CPU during training: one step, and one evaluated batch."""
