"""Training with torch: devices, data, workloads, the loop and the worker process around it.

Nothing outside this package imports it; runs are started as processes and read through their logs.
"""
