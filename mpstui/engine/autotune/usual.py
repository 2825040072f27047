"""Which plan a run starts with, and which changes of a plan are worth a trial."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import psutil
import torch

from mpstui.domain.plan import PLAIN, SAME, Plan
from mpstui.engine.setup import Setup
from mpstui.telemetry.cores import usable_cores

from . import allocator
from .apply import can_graph, may_replace_optimizer
from .optimizers import implementations
from .race import PlanChange
from .rewrites import possible

GRAPH_STEPS = (4,)
ONLY_SOMEWHERE = ("byte-dropout", "bias-apart")
"""Rewrites that help on some device types only: see :attr:`mpstui.backends.Backend.autotuned`."""

USUAL_OPTIMIZERS = ("fused", "flat")
"""The implementations that usually win, where an optimizer has them, in this order."""


class PlanSpace:
    """The plans that a run can train under."""

    def __init__(self, setup: Setup, can_capture: bool) -> None:
        """Read what the run's model and optimizer allow.

        Args:
            setup: The run under the plain plan.
            can_capture: Whether its batches have one form, as a CUDA graph needs it.
        """
        tried = setup.backend.autotuned
        self._usual = setup.backend.usual_plan
        self._steps_per_epoch = setup.config.steps_per_epoch
        self._rewrites = tuple(
            name for name in possible(setup.model) if name in tried or name not in ONLY_SOMEWHERE
        )
        self._optimizers = tuple(
            name
            for name in implementations(setup.optimizer)
            if name != "flat" or may_replace_optimizer(setup)
        )
        self._has_graphs = (
            "graph_steps" in tried and can_capture and can_graph(setup) and not setup.scaler
        )
        self._keeps_memory = "allocator" in tried and allocator.available()
        self._has_images = any(parameter.dim() == 4 for parameter in setup.model.parameters())
        threads = "threads" in tried and setup.backend.spec.option("threads") is None
        self._threads = thread_counts() if threads else ()

    def usual(self) -> Plan:
        """Return the plan that usually wins on this type of device, as far as the run allows it."""
        usual = self._usual
        if usual == PLAIN:
            return PLAIN
        optimizer = next((name for name in USUAL_OPTIMIZERS if name in self._optimizers), SAME)
        return Plan(
            rewrites=tuple(name for name in self._rewrites if name in usual.rewrites),
            optimizer=optimizer,
            allocator=usual.allocator if self._keeps_memory else PLAIN.allocator,
            graph_steps=usual.graph_steps if self._has_graphs else 0,
        )

    def changes(self, best: Plan) -> Iterator[PlanChange]:
        """Yield the changes to a plan, those first that may gain most.

        A label names what is changed, so that a change that stays is not tried backwards.
        """

        def change(label: str, depends_on_load: bool = False, **fields: object) -> PlanChange:
            return PlanChange(label, msgspec.structs.replace(best, **fields), depends_on_load)

        if self._has_graphs and not best.graph_steps:
            yield change("CUDA graph", graph_steps=1)
        if self._has_images:
            other = "contiguous" if best.layout == "channels_last" else "channels_last"
            yield change("channels_last", layout=other)
        for name in (*self._optimizers, SAME):
            if name != best.optimizer:
                yield change(f"{name} optimizer", optimizer=name)
        for name in self._rewrites:
            others = tuple(other for other in best.rewrites if other != name)
            yield change(name, rewrites=others if name in best.rewrites else (*others, name))
        for count in self._threads:
            if count != best.threads:
                yield change(f"{count} threads", depends_on_load=True, threads=count)
        for count in GRAPH_STEPS:
            if best.graph_steps == 1 and count <= self._steps_per_epoch // 4:
                yield change(f"{count} steps a graph", graph_steps=count)


def thread_counts() -> tuple[int, ...]:
    """Return thread counts besides torch's own: all cores, all but one, half of them, one.

    Threads beyond the cores that this process may use would wait for one another.
    """
    cores = min(psutil.cpu_count(logical=False) or 1, usable_cores())
    counts = [cores, cores - 1, cores // 2, 1]
    current = torch.get_num_threads()
    return tuple(dict.fromkeys(count for count in counts if 0 < count != current))
