"""One op's call, repeated alone: replayed in a process, shrunk, and written as ``repro.py``."""
