"""Dispatch modes that observe or change the ops of a training step.

The engine's step check and the investigation share them, so they are in a package below both.
"""
