"""A run built three times: on its device, on the CPU in float32, and once more on the CPU.

The third one tells what rounding does: it computes in float64, or in the run's own precision where
that is lower than float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psutil
import torch

from mpstui.backends import HALVES, Backend, open_backend
from mpstui.domain.devices import parse_device
from mpstui.domain.units import memory
from mpstui.engine.setup import Setup
from mpstui.engine.sides import StepStart, as_it_runs, rebuild, step_start_of, undisturbed
from mpstui.engine.snapshots import tensor_bytes
from mpstui.modes.agreement import finite
from mpstui.modes.recorded_random import DoubleRandom, RecordedRandom
from mpstui.modes.shared_random import SharedRandom

STATES = 3
"""States that a difference has to show in. A ReLU or a maximum whose operands are equal but for
rounding is decided another way on another device; in a state nearby it is not."""

SLOW_SECONDS = 30.0
"""Of one pass on the CPU: a run whose passes take longer is not checked any more."""


HIDDEN = "the CPU's own rounding would hide any difference"


class NotChecked(Exception):
    """Why nothing was compared, in words."""


class CheckTooSlow(NotChecked):
    """It would not be quicker later."""


class Trio(NamedTuple):
    """The three."""

    device: Setup
    cpu: Setup
    other: Setup | None
    """None where it cannot be built; only in float32."""
    begin: StepStart
    half: bool
    """Whether the run's precision is lower than float32."""
    dtype: torch.dtype | None
    """Of the weights on the CPU, where the run's own are lower."""
    note: str

    def repeated(self, draws: RecordedRandom) -> SharedRandom:
        """The draws of the CPU's newest pass, for the third."""
        return draws if self.half else DoubleRandom(draws.recorded)

    @property
    def other_dtype(self) -> torch.dtype | None:
        """Of the third one's weights; None for the workload's own."""
        return None if self.half else torch.float64


def build(setup: Setup) -> Trio:
    """Build a run anew.

    Args:
        setup: The run; it is left alone.

    Raises:
        NotChecked: When there is no room for it, or its weights are not finite.
        Exception: Whatever the user's class raises.
    """
    _make_room(setup)
    begin = step_start_of(setup)
    if not finite(begin.named):
        raise NotChecked("the weights are not finite")
    precision = setup.config.precision
    lower = any(each.dtype in HALVES.values() for each in setup.model.parameters())
    half, dtype = precision != "float32" or lower, torch.float32 if lower else None
    plain = open_backend(parse_device("cpu"))
    device = as_it_runs(setup, rebuild(setup, setup.backend, precision))
    cpu = rebuild(setup, plain, "float32", dtype)
    if half:
        other = rebuild(setup, plain, "bf16" if precision == "tf32" else precision)
        return Trio(device, cpu, other, begin, half, dtype, "")
    try:
        return Trio(device, cpu, _double(setup, plain), begin, half, dtype, "")
    except Exception as error:  # noqa: BLE001 - the user's class
        return Trio(device, cpu, None, begin, half, dtype, without_double(error))


def without_double(error: Exception) -> str:
    """What is said where float64 does not work for a model."""
    return f"fixed tolerances: no step in float64: {in_a_line(error)}"


def in_a_line(error: Exception) -> str:
    """An error's type and its first line."""
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


@contextmanager
def beside(setup: Setup) -> Iterator[None]:
    """Work beside a run: generators and threads are afterwards as they were."""
    with undisturbed(setup.backend.device), torch.enable_grad():
        if setup.config.spec.option("threads") is not None:
            # The reference is the plain CPU, which has them all.
            torch.set_num_threads(psutil.cpu_count() or 1)
        yield


def _double(setup: Setup, plain: Backend) -> Setup:
    return rebuild(setup, plain, "float32", torch.float64)


def _make_room(setup: Setup) -> None:
    """Refuse where four times the weights and their optimizer's state do not fit.

    Raises:
        NotChecked: With what it takes and what there is.
    """
    weights = sum(each.numel() * each.element_size() for each in setup.model.parameters())
    # Before the first step the optimizer has no state yet; Adam's is twice the weights.
    state = max(tensor_bytes(setup), 3 * weights)
    free = psutil.virtual_memory().available
    if free < 4 * state:
        raise NotChecked(
            f"it takes {memory(4 * state)} of memory, and {memory(free)} are available"
        )
    room = setup.backend.room()
    if room < 2 * state:
        raise NotChecked(f"it takes {memory(2 * state)} on the device, of {memory(room)} free")
