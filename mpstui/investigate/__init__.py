"""From a diverged run to the op at fault: the worker that looks, and whoever asks it to.

:mod:`mpstui.investigate.client` has no torch and is what CLI and screen call;
:mod:`mpstui.investigate.worker` is the process that it starts.
"""
