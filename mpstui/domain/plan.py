"""The fast path of a run: what a calibration chose among ways to do the same mathematical work."""

from __future__ import annotations

import msgspec

SAME = "as built"
"""An optimizer that steps the way its class does unless told otherwise."""

_REWRITES = {
    "pool-first": "max-pool before ReLU",
    "byte-dropout": "dropout by bytes",
    "bias-apart": "bias added apart",
}


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run's steps are carried out. The default is the plain loop."""

    layout: str = "contiguous"
    """Memory format of weights and images: ``contiguous`` or ``channels_last``."""
    rewrites: tuple[str, ...] = ()
    """Changes to the model's graph that keep its values, by name: ``pool-first``,
    ``byte-dropout``, ``bias-apart``."""
    optimizer: str = SAME
    """``for-loop``, ``foreach``, ``fused``, ``flat`` (all parameters in one tensor)."""
    allocator: str = "system"
    """``keep``: freed memory stays with the process instead of going back to the system."""
    threads: int | None = None
    """CPU threads of torch's pool; None leaves them as they are."""
    eval_chunk: int | None = None
    """Test images at once; None is the test batch size. Sums are over the same images."""
    graph_steps: int = 0
    """Training steps in one CUDA graph; 0 launches op by op."""
    loader_workers: int = 0
    """Processes that load a workload's own data sets; 0 loads in the training's thread."""
    loader_prefetch: int = 2
    """Batches that each of them makes ahead."""

    def words(self, optimizer: str) -> str:
        """The plan in a line, without what is as in the plain loop.

        Args:
            optimizer: The optimizer's class, such as ``Adadelta``.
        """
        told = [self.layout] if self.layout != "contiguous" else []
        if self.threads is not None:
            told.append(_counted(self.threads, "thread", "threads"))
        told += [_REWRITES.get(name, name) for name in self.rewrites]
        if self.optimizer != SAME:
            told.append(f"{self.optimizer} {optimizer}")
        if self.allocator == "keep":
            told.append("freed memory kept")
        if self.graph_steps:
            steps = "step" if self.graph_steps == 1 else f"{self.graph_steps} steps"
            told.append(f"CUDA graph of the whole {steps}")
        if self.loader_workers:
            told.append(f"data by {_counted(self.loader_workers, 'process', 'processes')}")
        if self.eval_chunk is not None:
            told.append(f"test in chunks of {self.eval_chunk}")
        return ", ".join(told)


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


PLAIN = Plan()


class AutotuneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a calibration found."""

    plan: Plan
    words: str
    """The plan in a line; empty for the plain loop."""
    plain_seconds: float
    """Of a training step of the plain loop, median."""
    seconds: float
    """The same of the plan's, alternating with the plain loop."""
    took: float
    """Seconds that the calibration took, outside the clock."""
    untried: tuple[str, ...] = ()
    """Choices that there was no time for, or that failed, each with its reason."""
    loading: str = ""
    """How a workload's own data are loaded and why; empty for digits."""
    unsteady: float | None = None
    """How many times as long the plain loop's median block took as its quickest, where that is so
    much that others were busy on the machine; None where it was quiet."""

    @property
    def gain(self) -> float:
        """How many times as fast as the plain loop."""
        return self.plain_seconds / self.seconds

    def line(self, kept: bool = False) -> str:
        """A line for the log, such as ``channels_last, 2 threads: 1.9× the plain loop``.

        Args:
            kept: Whether it was measured by an earlier run.
        """
        when = "as an earlier run measured" if kept else f"calibrated in {self.took:.1f} s"
        if self.unsteady is not None:
            when += f", on a busy machine: the same steps took {self.unsteady:.1f}× as long"
        loading = f"; data: {self.loading}" if self.loading else ""
        if not self.words:
            return f"plain loop: nothing was faster ({when}){loading}"
        return f"{self.words}: {self.gain:.2g}× the plain loop ({when}){loading}"


class PlanKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a calibration holds for."""

    machine: str
    """The processor's name, the system and the cores."""
    torch: str
    device: str
    """The device spec, and the hardware's own name."""
    workload: str
    """Its name; of one from a file, a digest of that too."""
    batch_size: int
    test_batch_size: int
    precision: str
    pipeline: str
