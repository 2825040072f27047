"""Bounds of the numbers in files: wide enough for any machine, so narrow that all arithmetic works.

A file may be damaged, or a stranger's. With these types a value that no run can have is an error
where it is read, instead of one where a screen draws it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Time = Annotated[float, Meta(ge=0.0, le=2.5e11)]
"""Wall-clock Unix time in seconds; the calendar of ``datetime`` ends in the year 9999."""

Seconds = Annotated[float, Meta(ge=-1e10, le=1e10)]
"""A duration. A difference of clocks may be less than 0."""

Number = Annotated[float, Meta(ge=-1e300, le=1e300)]
"""A finite number whose sums and differences are finite too."""

Step = Annotated[int, Meta(ge=0, le=10**15)]
"""A training step, or an epoch: exact as a float."""

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A number of things: samples, parameters, bytes, operations."""

Size = Annotated[int, Meta(ge=1, le=2**20)]
"""A number of threads, samples or processes that is used as it is."""

Pid = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""A process's id. 0 and less are groups, for the system's calls."""

Inside = Annotated[
    str,
    Meta(pattern=r"^(?![/\\]|[A-Za-z]:)(?!([\s\S]*[/\\])?\.\.([/\\]|$))[^\x00]*$"),
]
"""A relative path that stays in its folder, or none, with either system's separators."""
