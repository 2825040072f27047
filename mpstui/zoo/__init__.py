"""Workloads to start from: each is one file in the form of a custom workload.

They import torch, and nothing from mpstui. ``mpstui new FILE.py --from NAME`` copies one.
"""
