"""A run rebuilt three times: on its device, on the CPU in float32, and a second time on the CPU.

The third shows the effect of rounding: it computes in float64, or in the run's own precision if
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
from mpstui.engine.sides import StepStart, apply_run_plan, preserve_rng, read_step_start, rebuild
from mpstui.engine.snapshots import tensor_bytes
from mpstui.modes.agreement import finite
from mpstui.modes.recorded_random import DoubleRandom, RecordedRandom
from mpstui.modes.shared_random import SharedRandom
from mpstui.telemetry.cores import usable_cores

CHECKED_STATES = 3
"""States in which a difference must show. A ReLU or a maximum whose operands are equal but for
rounding may go another way on another device, but not in a nearby state."""

SLOW_SECONDS = 30.0
"""Limit for one pass on the CPU: a run whose passes take longer is not checked any more."""


HIDDEN = "the CPU's own rounding would hide any difference"


class NotChecked(Exception):
    """Nothing was compared; the message is the reason."""


class CheckTooSlow(NotChecked):
    """The check takes too long, now and later."""


class Trio(NamedTuple):
    """The three rebuilt runs."""

    device: Setup
    cpu: Setup
    rounding: Setup | None
    """The second run on the CPU; None if it can't be built, which happens only in float32."""
    start: StepStart
    half: bool
    """Whether the run's precision is lower than float32."""
    dtype: torch.dtype | None
    """Of the weights on the CPU, if the run's own are lower than float32."""
    note: str

    def replay(self, rng: RecordedRandom) -> SharedRandom:
        """Return the random numbers of the CPU's newest pass, for the third run."""
        return rng if self.half else DoubleRandom(rng.recorded, rng.seed)

    @property
    def rounding_dtype(self) -> torch.dtype | None:
        """Of the third run's weights; None for the workload's own."""
        return None if self.half else torch.float64


def build(setup: Setup) -> Trio:
    """Rebuild a run three times.

    Args:
        setup: The run; it is not changed.

    Raises:
        NotChecked: When there is not enough memory, or its weights are not finite.
        Exception: Any error of a custom workload's class.
    """
    _check_memory(setup)
    start = read_step_start(setup)
    if not finite(start.tensors):
        raise NotChecked("the weights are not finite")
    precision = setup.config.precision
    lower = any(weight.dtype in HALVES.values() for weight in setup.model.parameters())
    half, dtype = precision != "float32" or lower, torch.float32 if lower else None
    plain = open_backend(parse_device("cpu"))
    device = apply_run_plan(setup, rebuild(setup, setup.backend, precision))
    cpu = rebuild(setup, plain, "float32", dtype)
    if half:
        rounding = rebuild(setup, plain, "bf16" if precision == "tf32" else precision)
        return Trio(device, cpu, rounding, start, half, dtype, "")
    try:
        return Trio(device, cpu, _double(setup, plain), start, half, dtype, "")
    except Exception as error:  # noqa: BLE001 - a custom class may raise anything
        return Trio(device, cpu, None, start, half, dtype, without_double(error))


def without_double(error: Exception) -> str:
    """Return the note for a model that does not work in float64."""
    return f"fixed tolerances: no step in float64: {format_error(error)}"


def format_error(error: Exception) -> str:
    """Format an error as its type and the first line of its message."""
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


@contextmanager
def isolated(setup: Setup) -> Iterator[None]:
    """Run a check, and restore the run's generators and thread count at the end."""
    shared = setup.own_state.shared
    with preserve_rng(setup.backend), shared.preserved(), torch.enable_grad():
        if setup.config.spec.option("threads") is not None:
            # The reference is the plain CPU, which uses all threads.
            torch.set_num_threads(usable_cores())
        yield


def _double(setup: Setup, plain: Backend) -> Setup:
    return rebuild(setup, plain, "float32", torch.float64)


def _check_memory(setup: Setup) -> None:
    """Refuse if four times the weights and their optimizer's state don't fit into memory.

    Raises:
        NotChecked: The message has the required and the available memory.
    """
    weights = sum(weight.numel() * weight.element_size() for weight in setup.model.parameters())
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
