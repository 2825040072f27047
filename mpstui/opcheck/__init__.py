"""Is a device right? Ops run there and on the CPU, compared; and faults simulated to test that.

Everything here imports torch. Whoever must not, asks :mod:`mpstui.opcheck.worker` as a process.
"""
