"""One op call: its schema, arguments and storages, its reference result, and its judgement.

All modules import torch; none depends on a training step.
"""
