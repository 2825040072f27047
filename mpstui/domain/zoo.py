"""The workloads that come with mpstui as files in the form of custom ones, by name.

``gpt-char`` is a file of :mod:`mpstui.zoo`; ``torchvision:resnet18`` is a file there that builds
any of a library's models. Settings may follow: ``torchvision:resnet18@size=64,classes=10``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "zoo"


class ZooEntry(NamedTuple):
    """A workload's file and class."""

    file: str
    """In the package's folder, without its ending."""
    name: str
    """The class."""
    title: str

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / f"{self.file}.py"


ZOO = {
    "gpt-char": ZooEntry("gpt_char", "GptChar", "character GPT, AdamW"),
    "lstm": ZooEntry("lstm", "LstmText", "character LSTM, Adam"),
    "unet": ZooEntry("unet", "Segmentation", "U-Net, Adam"),
    "gan": ZooEntry("gan", "Gan", "GAN of digits, two Adam"),
    "resnet-cifar": ZooEntry("resnet_cifar", "ResnetCifar", "ResNet of stripes, SGD"),
}
"""Workloads by name."""

FAMILIES = {
    "torchvision": ZooEntry("torchvision_model", "TorchvisionModel", "torchvision"),
    "timm": ZooEntry("timm_model", "TimmModel", "timm"),
    "transformers": ZooEntry("transformers_model", "TransformersModel", "transformers"),
}
"""Libraries of models; ``NAME`` in ``torchvision:NAME`` is a model of theirs."""

EXAMPLE = ZooEntry("example", "Mine", "an example of every method")
"""What ``mpstui new`` writes."""

_MEMBER = re.compile(r"(?P<family>[a-z]+):(?P<model>[\w.\-/]+)(?P<settings>(?:@[^@]*)?)")


class ZooRef(NamedTuple):
    """A workload of the zoo."""

    entry: ZooEntry
    model: str = ""
    """The name of a library's model."""
    settings: str = ""
    """Settings as written after ``@``: ``size=64,classes=10``."""


def zoo_ref(value: object) -> ZooRef | None:
    """Parse a workload of the zoo; None if the value is none.

    Checks only the form of a library's model: whether there is one shows when it is built.
    """
    if not isinstance(value, str):
        return None
    if value in ZOO:
        return ZooRef(ZOO[value])
    match = _MEMBER.fullmatch(value)
    if match is None or match["family"] not in FAMILIES:
        return None
    return ZooRef(FAMILIES[match["family"]], match["model"], match["settings"][1:])


def split_settings(workload: str) -> tuple[str, list[str]]:
    """Split a workload as typed into its name and its settings, each ``NAME=VALUE``."""
    reference = zoo_ref(workload)
    if reference is None or not reference.settings:
        return workload, []
    return workload.partition("@")[0], reference.settings.split(",")
