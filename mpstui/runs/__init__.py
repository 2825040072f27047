"""Creates, launches, controls, reads and lists runs.

A run is a directory, and its log is the interface: the worker appends, all others read.
"""
