"""control.json: what a person asks of a run. The newest wish wins; the file is replaced whole."""

from __future__ import annotations

from typing import Literal

import msgspec

Wish = Literal["run", "pause", "stop", "kill"]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The wish: go on, pause, stop between two steps, or end the worker at once."""

    wish: Wish = "run"
