"""Run directories: created, appended to, tailed, controlled, launched and listed.

A run is a directory and its log is the interface: the worker appends, everybody else reads.
"""
