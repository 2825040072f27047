"""Damaged and hostile input of every kind: ``python -m tests.fuzz``."""
