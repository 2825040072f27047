"""The facts behind advice on GPUs."""

from __future__ import annotations

from typing import NamedTuple

from mpstui.domain.conditions import Gpus, HostSession
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.shell import pip_install

from .upstream import WHEEL_INDEX


class WheelAdvice(NamedTuple):
    """A cause of the missing accelerator, with a remedy."""

    cause: str
    remedy: str = ""
    commands: tuple[str, ...] = ()


class WheelNeeds:
    """The facts that advice on GPUs uses.

    Args:
        facts: The doctor's facts, including torch's.
    """

    def __init__(self, facts: DoctorFacts) -> None:
        self.facts, self.machine = facts, facts.machine
        conditions = facts.conditions
        self.session = conditions.session if conditions else HostSession()
        self.gpus = conditions.gpus if conditions else Gpus()
        self.variables = conditions.variables if conditions else {}
        self.driver = conditions.nvidia_driver if conditions else None
        vendors = set(self.gpus.vendors or ())
        self.vendors = vendors | {"NVIDIA"} if self.driver else vendors
        self.build = build_of(facts)

    def wheel(self, index: str) -> str:
        """Return the command that replaces torch with another build."""
        arguments = (
            "--force-reinstall",
            "torch",
            "torchvision",
            "--index-url",
            WHEEL_INDEX + index,
        )
        return pip_install(self.machine, *arguments)


def build_of(facts: DoctorFacts) -> str:
    """Return the build of torch: ``cuda``, ``rocm``, ``xpu``, ``mps`` or ``cpu``."""
    torch = facts.torch
    if torch is None:
        return "cpu"
    if torch.hip or "+rocm" in torch.version:
        return "rocm"
    if torch.cuda:
        return "cuda"
    built_types = {fact.type for fact in torch.devices if fact.built}
    return next((kind for kind in ("cuda", "xpu", "mps") if kind in built_types), "cpu")
