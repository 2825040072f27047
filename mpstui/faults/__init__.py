"""Simulated faults: ops that go wrong the way reported bugs do, to test that mpstui finds them."""
