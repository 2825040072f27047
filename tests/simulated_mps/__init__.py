"""A simulated ``mps`` device for tests: an ordinary Linux torch that has MPS in every process.

It is a test device. It computes on the CPU, never ships in the wheel, and its name says that it is
simulated. What it shows is that the program's own MPS path runs; it shows nothing about Metal.

- ``device.cpp`` registers memory, generator, device guard and hooks for the dispatch key MPS.
- ``ops.cpp`` registers every op that has an MPS kernel by the project's own kernel table. Ops
  outside of it raise, or fall back to the CPU, as on a Mac.
- ``kernels.py`` holds the ops that only MPS has, such as ``_lstm_mps``.
- ``build.py`` compiles it once for each torch version.
- ``site/sitecustomize.py`` loads it into a process that has :func:`environment`.
- ``readers/`` stands for the packages that read an Apple chip's use, power and energy.
"""

from __future__ import annotations

from .build import Unavailable, build
from .settings import Fault, Settings, environment

__all__ = ["Fault", "Settings", "Unavailable", "build", "environment"]
