"""The gate that the training thread passes before each step: pauses, stops and turns.

The main thread opens and closes it; the training thread reads one attribute a step and waits on a
condition only when it is shut.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


def _discard(message: str) -> None:
    """Send nothing: there is no supervisor."""


class StopRequested(Exception):
    """The gate asks the loop to stop."""


class Gate:
    """The current requests of the user and the supervisor to the loop."""

    def __init__(self, send: Callable[[str], None] = _discard, takes_turns: bool = False) -> None:
        """Create an open gate, or a shut one if runs take turns.

        Args:
            send: Sends the supervisor a message.
            takes_turns: Whether a supervisor grants turns, the first one included.
        """
        self.paused = False
        self.stop_reason = ""
        """Why the run must stop; empty while it need not."""
        self._turn = not takes_turns
        self._held = not takes_turns  # a turn was granted and not handed back yet
        self._takes_turns = takes_turns
        self._send = send
        self._changed = threading.Condition()
        self.is_open = not takes_turns
        """Whether a loop may pass without looking further: no pause, no stop, its turn."""

    def _notify(self) -> None:
        self.is_open = self._turn and not self.paused and not self.stop_reason
        self._changed.notify_all()

    @property
    def shut(self) -> bool:
        """Whether the loop must wait before its next step."""
        return (self.paused or not self._turn) and not self.stop_reason

    @property
    def is_supervised(self) -> bool:
        """Whether a supervisor grants turns."""
        return self._takes_turns

    def request(self, request: str) -> None:
        """Apply the request in control.json."""
        with self._changed:
            self.paused = request == "pause"
            if request == "stop" and not self.stop_reason:
                self.stop_reason = "requested by the user"
            self._notify()

    def stop(self, reason: str) -> None:
        """Request a safe stop for another reason than the user's request."""
        with self._changed:
            self.stop_reason = self.stop_reason or reason
            self._notify()

    def turn(self, granted: bool) -> None:
        """Apply the supervisor's decision to grant a turn, or to end it."""
        with self._changed:
            self._turn = granted
            self._held = self._held or granted
            self._notify()

    def ready(self) -> None:
        """Report that the set-up is done and the first turn may be granted."""
        self._send("ready")

    def hand_back(self) -> None:
        """Hand back a turn that the supervisor has ended; the device must be idle.

        A turn is handed back once: on a second message the supervisor would take the turn that it
        has granted since as over too, and two runs would train at the same time.
        """
        with self._changed:
            if self._turn or not self._held:
                return
            self._held = False
        self._send("yielded")

    def pausing(self) -> None:
        """Report that a pause begins, which hands the turn back too."""
        self._drop_turn()
        self._send("paused")

    def resumed(self) -> None:
        """Report that the pause is over; a new turn must be granted."""
        self._drop_turn()
        self._send("resumed")

    def wait_while_paused(self) -> None:
        """Block until the pause ends or the run must stop."""
        with self._changed:
            self._changed.wait_for(lambda: not self.paused or bool(self.stop_reason))

    def wait_for_turn(self) -> None:
        """Block until it is this run's turn, or the user requests a pause or a stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._turn or self.paused or bool(self.stop_reason))

    def _drop_turn(self) -> None:
        # A grant sent before our message arrived is void: the supervisor has revoked it by now.
        if self._takes_turns:
            with self._changed:
                self._turn = self._held = False
                self.is_open = False
