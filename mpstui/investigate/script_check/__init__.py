"""Checks the ops of the user's own script while it runs as it is.

:mod:`mpstui.investigate.script_check.search` is the investigation's side. It starts the script in a
process of its own (:mod:`mpstui.investigate.script_check.script_process`), which checks the ops of
a few steps against the CPU, and then tries a wrong call alone.
"""
