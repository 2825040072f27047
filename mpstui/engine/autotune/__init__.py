"""The fast path: ways to do a step's mathematical work faster, and autotuning that picks.

A way is taken only where it was measured to be faster on this machine and gave the plain loop's
losses and gradients there.
"""
