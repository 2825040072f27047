"""Measurements, each run by hand: ``python -m tests.benchmarks.NAME``; none is in the suite."""
