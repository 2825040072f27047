"""From a diverged run to the op at fault: the worker that searches for it, and its client.

:mod:`mpstui.investigate.client` does not import torch; CLI and screens use it;
:mod:`mpstui.investigate.worker` is the process that it starts.
"""
