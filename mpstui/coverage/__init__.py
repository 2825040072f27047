"""Checks on any machine, from tables, which ops of a training step have an MPS kernel."""
