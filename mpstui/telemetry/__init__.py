"""Reads the machine's properties and load. Nothing here imports torch."""
