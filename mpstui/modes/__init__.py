"""Dispatch modes that watch or steer the ops of one training step.

The engine's step check and the investigation share them, so they live below both.
"""
