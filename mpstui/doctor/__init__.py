"""The doctor: probes gather facts, checks judge them, a report says so in words.

Only ``torch_probe`` imports torch, and only in the process of its own that it is run in.
"""
