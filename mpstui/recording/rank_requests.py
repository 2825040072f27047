"""Makes all ranks on a host follow a request after the same step.

A rank that paused one step earlier than another would leave the other one waiting for its
gradients, until a time limit of the network's. So the host's first rank chooses a step in the near
future and writes it into its run's directory, and every rank follows the request once it is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from mpstui.runs.control import Request
from mpstui.runs.files import read_json, write_json
from mpstui.runs.rundir import RunDir

AHEAD_SECONDS = 1.0
"""Time for the other ranks to read the file; they look ten times a second."""


class AgreedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """agreed.json: a request, and the step after which every rank follows it."""

    request: Request
    step: int


class RankRequests:
    """The requests to one rank."""

    def __init__(
        self, first: RunDir, leads: bool, progress: Callable[[], tuple[int, float | None]]
    ) -> None:
        """Follow the requests to the host's first rank.

        Args:
            first: That rank's run.
            leads: Whether this process is that rank.
            progress: Returns this rank's newest step and its seconds per step, None if unknown.
        """
        self.step = 0
        """The step after which the newest request is followed."""
        self._first = first
        self._path = first.path / "agreed.json"
        self._leads = leads
        self._progress = progress
        self._requested: Request = "run"

    def request(self) -> Request:
        """Return the newest request that the ranks agreed on."""
        if self._leads and (request := self._first.request()) != self._requested:
            step, seconds = self._progress()
            ahead = 2 + (math.ceil(AHEAD_SECONDS / seconds) if seconds else 0)
            self._requested = request
            write_json(self._path, AgreedRequest(request=request, step=step + ahead))
        agreed = read_json(self._path, AgreedRequest)
        if agreed is None:
            return "run"
        self.step = agreed.step
        return agreed.request
