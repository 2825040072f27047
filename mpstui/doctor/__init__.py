"""The doctor: probes gather facts, checks turn them into findings, reports show the findings.

Only ``torch_probe`` imports torch, and it runs in a separate process.
"""
