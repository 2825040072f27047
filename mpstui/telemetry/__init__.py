"""Readings of the machine: what it is, and how busy it is. Nothing here imports torch."""
