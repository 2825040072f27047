"""What the hooks in torch report, to the recorder of a script or to the check of its ops."""

from __future__ import annotations

from typing import Any, Protocol

from torch.optim.optimizer import Optimizer


class StepObserver(Protocol):
    """What the hooks report to, in the thread that trains."""

    watches_step_begins: bool
    """Whether it needs ``step_begins`` for a step without a closure too."""
    watches_fetch_begins: bool
    """Whether it needs ``fetch_begins`` for a batch that is fetched with gradients too."""

    def optimizer_created(self, optimizer: Optimizer) -> None:
        """Note a new optimizer."""

    def optimizer_restored(self, optimizer: Optimizer) -> None:
        """Note an optimizer that was copied or unpickled, or whose state was loaded."""

    def gradients_cleared(self, optimizer: Optimizer) -> None:
        """Note that an optimizer's gradients were cleared."""

    def backward_begins(self, tensors: Any, gradients: Any, inputs: Any = None) -> None:
        """Note the values whose gradients are computed next: of ``inputs``, or of all if None."""

    def backward_ended(self, succeeded: bool) -> None:
        """Note that the gradients are there, or that an error was raised."""

    def step_begins(self, optimizer: Optimizer, closure: Any) -> Any:
        """Note a step; returns the closure to call in place of the optimizer's."""

    def step_ended(self, optimizer: Optimizer) -> None:
        """Note that an optimizer changed its parameters. May raise KeyboardInterrupt."""

    def step_skipped(self, optimizer: Optimizer) -> None:
        """Note that a gradient scaler skipped a step. May raise KeyboardInterrupt."""

    def scaled(self, scaler: Any, outputs: Any, result: Any) -> None:
        """Note a loss and its scaled form."""

    def norm_computed(self, norm: Any, parameters: Any) -> None:
        """Note the norm of parameters' gradients before clipping; None if it is not Euclidean."""

    def loader_started(self, loader: Any, iterator: Any) -> None:
        """Note a new pass over a DataLoader."""

    def fetch_begins(self, iterator: Any) -> None:
        """Note that a batch is waited for."""

    def fetch_ended(self, iterator: Any, batch: Any, seconds: float) -> None:
        """Note a batch, or None at the end of a pass."""

    def mode_changed(self, module: Any, training: bool) -> None:
        """Note that a module was put into training or evaluation mode."""

    def scalar_logged(self, name: str, value: Any) -> None:
        """Note a value that the user's code logs."""

    def failed(self, error: Exception) -> None:
        """End the recording, since the observer raised an error."""
