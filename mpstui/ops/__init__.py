"""One op call: its schema, arguments and storages, what it should return, and how a result is judged.

Everything here imports torch and nothing here knows of a training step."""
