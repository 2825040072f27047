"""One op call: its schema, arguments and storages, its reference result, and how it is judged.

Everything here imports torch; nothing here knows of a training step.
"""
