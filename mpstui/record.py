"""``python -m mpstui.record SCRIPT``: records a script in this process, as torchrun starts it.

``torchrun --nproc-per-node 2 -m mpstui.record SCRIPT ARGUMENT…`` records each rank as a run of one
group. ``from mpstui import record`` is the function of :mod:`mpstui.recording.api`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from mpstui.recording.ranks import record_rank

    record_rank(sys.argv[1:])
