"""Simulated faults: ops that fail as in reported bugs, to test that mpstui detects them."""
