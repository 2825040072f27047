"""What advice on GPUs rests on."""

from __future__ import annotations

from typing import NamedTuple

from mpstui.domain.conditions import Gpus, HostSession
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.shell import pip_install

from .upstream import WHEEL_INDEX


class WheelAdvice(NamedTuple):
    """Why there is none, and what can be done about it."""

    cause: str
    remedy: str = ""
    commands: tuple[str, ...] = ()


class WheelNeeds:
    """What the advice rests on.

    Args:
        facts: With torch's.
    """

    def __init__(self, facts: DoctorFacts) -> None:
        self.facts, self.machine = facts, facts.machine
        around = facts.surroundings
        self.session = around.session if around else HostSession()
        self.gpus = around.gpus if around else Gpus()
        self.variables = around.variables if around else {}
        self.driver = around.nvidia_driver if around else None
        named = set(self.gpus.vendors or ())
        self.vendors = named | {"NVIDIA"} if self.driver else named
        self.build = build_of(facts)

    def wheel(self, index: str) -> str:
        """The command that replaces torch by another build."""
        words = ("--force-reinstall", "torch", "torchvision", "--index-url", WHEEL_INDEX + index)
        return pip_install(self.machine, *words)


def build_of(facts: DoctorFacts) -> str:
    """What torch was built for: ``cuda``, ``rocm``, ``xpu``, ``mps`` or ``cpu``."""
    torch = facts.torch
    if torch is None:
        return "cpu"
    if torch.hip or "+rocm" in torch.version:
        return "rocm"
    if torch.cuda:
        return "cuda"
    built = {fact.type for fact in torch.devices if fact.built}
    return next((kind for kind in ("cuda", "xpu", "mps") if kind in built), "cpu")
