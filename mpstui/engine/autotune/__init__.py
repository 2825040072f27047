"""Autotune: measures faster ways to execute a step's mathematics, and selects from them.

It selects only what is measurably faster on this machine and gives the plain loop's losses and
gradients there.
"""
