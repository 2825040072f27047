"""Checks of random numbers: value rules per op, and statistics over many calls."""
