"""The process that measures a sweep's points, as the command sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mpstui.domain.anatomy import PointRequest, SweepPoint
from mpstui.domain.facts import TorchFacts
from mpstui.processes.client import ProcessClient, ProcessFailed
from mpstui.processes.command import FACTS_FLAG, module_command
from mpstui.processes.stdio import read_answer

PATIENCE = 600.0
"""Time limit of a point, in seconds: it includes an import of torch, and slow steps on a CPU."""


class SweepProcess:
    """Measures points in a separate process, which knows torch's devices too.

    A failure of the process becomes the error of the point that it was at, and another one
    continues behind it. Close it, so that a refused sweep leaves no process.

    Args:
        requests: The points.
        values: The workload, and what else the user set, as for ``make_config``.
        seconds: Timed, for each point.
    """

    def __init__(
        self, requests: Sequence[PointRequest], values: Mapping[str, Any], seconds: float
    ) -> None:
        self._left = deque(requests)
        self._values = values
        self._seconds = seconds
        self._lines: Generator[str, None, None] | None = None

    def torch_facts(self) -> TorchFacts | None:
        """Start the process and return torch's facts; None if it fails before it has them."""
        self._lines = self._start(FACTS_FLAG)
        try:
            for line in self._lines:
                if facts := read_answer(line, TorchFacts):
                    return facts
        except ProcessFailed:
            pass  # the doctor's probe says why
        self._lines = None
        return None

    def points(self) -> Iterator[SweepPoint]:
        """Yield the points as they are measured."""
        while self._left:
            error = "the process gave no answer"
            self._lines = self._lines or self._start()
            try:
                for line in self._lines:
                    if point := read_answer(line, SweepPoint):
                        self._left.popleft()
                        yield point
            except ProcessFailed as failure:
                error = str(failure)
            self._lines = None
            if self._left:
                yield SweepPoint(**msgspec.structs.asdict(self._left.popleft()), error=error)

    def close(self) -> None:
        """End the process, if it is still there."""
        if self._lines is not None:
            self._lines.close()

    def _start(self, *flags: str) -> Generator[str, None, None]:
        values, requests = (
            msgspec.json.encode(document).decode() for document in (self._values, list(self._left))
        )
        arguments = (*flags, values, repr(self._seconds), requests)
        command = module_command("mpstui.engine.sweep", *arguments)
        return ProcessClient().lines(command, PATIENCE + 10 * self._seconds)
