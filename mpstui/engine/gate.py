"""The gate that the training thread passes before each step: pause, stop, and whose turn it is.

The main thread opens and closes it; the training thread looks at one attribute a step and waits on
a condition only when it is shut.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


def _nobody(word: str) -> None:
    """There is no supervisor to talk to."""


class Gate:
    """What the user and the supervisor want of the loop right now."""

    def __init__(self, say: Callable[[str], None] = _nobody, refereed: bool = False) -> None:
        """Open, unless a supervisor hands out turns.

        Args:
            say: Tells the supervisor a word.
            refereed: Whether a supervisor hands out turns; then the first one has to be granted.
        """
        self.paused = False
        self.stop_reason = ""
        """Why the run shall stop; empty while it shall not."""
        self._turn = not refereed
        self._held = not refereed  # a turn was granted and not given back yet
        self._refereed = refereed
        self._say = say
        self._changed = threading.Condition()

    @property
    def shut(self) -> bool:
        """Whether the loop has to hold before its next step."""
        return (self.paused or not self._turn) and not self.stop_reason

    def request(self, request: str) -> None:
        """Take in what control.json asks for."""
        with self._changed:
            self.paused = request == "pause"
            if request == "stop" and not self.stop_reason:
                self.stop_reason = "asked by the user"
            self._changed.notify_all()

    def stop(self, reason: str) -> None:
        """Ask for a safe stop for another reason than the user's request."""
        with self._changed:
            self.stop_reason = self.stop_reason or reason
            self._changed.notify_all()

    def turn(self, mine: bool) -> None:
        """The supervisor grants a turn or wants it back."""
        with self._changed:
            self._turn = mine
            self._held = self._held or mine
            self._changed.notify_all()

    def ready(self) -> None:
        """The set-up is done; the first turn may be granted."""
        self._say("ready")

    def hand_back(self) -> None:
        """Give back a turn that is wanted back, the device being idle.

        A turn is given back once: on a second word the supervisor would believe that the turn which it
        has granted since is over too, and two runs would train at once.
        """
        with self._changed:
            if self._turn or not self._held:
                return
            self._held = False
        self._say("yielded")

    def pausing(self) -> None:
        """Tell that a pause begins, which gives the turn back too."""
        self._drop_turn()
        self._say("paused")

    def resumed(self) -> None:
        """Tell that the pause is over; a turn has to be granted anew."""
        self._drop_turn()
        self._say("resumed")

    def wait_while_paused(self) -> None:
        """Block until the pause ends or the run shall stop."""
        with self._changed:
            self._changed.wait_for(lambda: not self.paused or bool(self.stop_reason))

    def wait_for_turn(self) -> None:
        """Block until it is this run's turn, or the user wants something else."""
        with self._changed:
            self._changed.wait_for(lambda: self._turn or self.paused or bool(self.stop_reason))

    def _drop_turn(self) -> None:
        # A grant that crossed our word on its way is void: the supervisor has taken it back by now.
        if self._refereed:
            with self._changed:
                self._turn = self._held = False
