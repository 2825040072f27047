"""A run's plan: the fastest of several ways to do the same mathematical work, by autotuning."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from .bounds import Number, Seconds, Size
from .units import times

SAME = "as built"
"""An optimizer with its class's default implementation."""

_REWRITES = {
    "pool-first": "max-pool before ReLU",
    "byte-dropout": "dropout by bytes",
    "bias-apart": "bias added apart",
}


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run's steps are executed. The default is the plain loop."""

    layout: str = "contiguous"
    """Memory format of weights and images: ``contiguous`` or ``channels_last``."""
    rewrites: tuple[str, ...] = ()
    """Changes to the model's graph that preserve its values, by name: ``pool-first``,
    ``byte-dropout``, ``bias-apart``."""
    optimizer: str = SAME
    """``for-loop``, ``foreach``, ``fused``, ``flat`` (all parameters in one tensor)."""
    allocator: str = "system"
    """``keep``: freed memory stays with the process instead of going back to the system."""
    threads: Size | None = None
    """CPU threads of torch's pool; None keeps torch's default."""
    eval_chunk: Size | None = None
    """Test images per forward pass; None is the test batch size. Sums cover the same images."""
    graph_steps: Annotated[int, Meta(ge=0, le=64)] = 0
    """Training steps in one CUDA graph; 0 launches op by op."""
    loader_workers: Annotated[int, Meta(ge=0, le=256)] = 0
    """Processes that load a workload's own data sets; 0 loads in the training thread."""
    loader_prefetch: Size = 2
    """Batches that each process prepares ahead."""

    @property
    def is_known(self) -> bool:
        """Whether this version knows all that it names; an optimizer depends on the run."""
        return (
            self.layout in ("contiguous", "channels_last")
            and self.allocator in ("system", "keep")
            and set(self.rewrites) <= set(_REWRITES)
        )

    def describe(self, optimizer: str) -> str:
        """Describe in one line how the plan differs from the plain loop.

        Args:
            optimizer: The optimizer's class, such as ``Adadelta``.
        """
        changes = [self.layout] if self.layout != "contiguous" else []
        if self.threads is not None:
            changes.append(_count(self.threads, "thread", "threads"))
        changes += [_REWRITES.get(name, name) for name in self.rewrites]
        if self.optimizer != SAME:
            changes.append(f"{self.optimizer} {optimizer}")
        if self.allocator == "keep":
            changes.append("freed memory kept")
        if self.graph_steps:
            steps = "step" if self.graph_steps == 1 else f"{self.graph_steps} steps"
            changes.append(f"CUDA graph of the whole {steps}")
        if self.loader_workers:
            changes.append(f"data by {_count(self.loader_workers, 'process', 'processes')}")
        if self.eval_chunk is not None:
            changes.append(f"test in chunks of {self.eval_chunk}")
        return ", ".join(changes)


def _count(count: int, singular: str, plural: str) -> str:
    return f"{count} {singular if count == 1 else plural}"


PLAIN = Plan()


class AutotuneResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of autotuning."""

    plan: Plan
    text: str
    """The plan in one line; empty for the plain loop."""
    seconds: Seconds
    """Median seconds of a training step under the plan."""
    gain: Number | None = None
    """Speed relative to the plain loop, in alternating blocks of steps; None if the run was too
    short to compare them. Where the plan keeps freed memory, the plain loop kept it too."""
    untried: tuple[str, ...] = ()
    """Changes that were not tried or failed, each with its reason."""
    loading: str = ""
    """How a workload's own data is loaded and why; empty for digits."""
    has_chunks: bool = False
    """Whether sizes of test chunks were compared."""
    is_complete: bool = True
    """Whether every change was compared; if not, the next run continues."""

    def line(self, source: str) -> str:
        """Format a line for the log, such as ``channels_last, 2 threads: 1.9× the plain loop``.

        Args:
            source: When it was measured, such as ``autotuned in steps 11 to 260``.
        """
        loading = f"; data: {self.loading}" if self.loading else ""
        if not self.text:
            return f"plain loop: nothing was faster ({source}){loading}"
        gain = "" if self.gain is None else f": {times(self.gain)} the plain loop"
        return f"{self.text}{gain} ({source}){loading}"


class PlanKey(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances that autotuning is valid for."""

    machine: str
    """The processor's name, the system and the cores."""
    torch: str
    device: str
    """The device spec, and the hardware's own name."""
    workload: str
    """Its name; for one from a file, also the file's digest."""
    batch_size: Size
    test_batch_size: Size
    precision: str
    pipeline: str
