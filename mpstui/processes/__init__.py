"""Child processes: commands that run mpstui's modules, and a client that reads their answers."""
