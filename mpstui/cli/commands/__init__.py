"""The flags of each command, and a ``run`` that calls its implementation.

These modules import an implementation only when its command runs, so ``--help`` and the app's
first frame don't wait for the others.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
