"""Checks a device's ops against the CPU.

All modules import torch; code that must not runs :mod:`mpstui.opcheck.worker` as a process.
"""
