"""Imports torch's compiler when something compiles, and not with the first optimizer.

An optimizer imports ``torch._dynamo`` only to mark what the compiler must leave alone
(``torch._compile._disable_dynamo``) and where it must stop (``torch.optim.optimizer._use_grad``).
The import takes about as long as torch's own: 2.4 of the 5 seconds before a first step on two
cores. As long as nothing compiles, the marks mean nothing. So a module stands in for
``torch._dynamo``. It knows the two marks, and any other use of it imports the real one:
``torch.compile``, another attribute, a submodule.

Source: PEP 562 and PyTorch's own lazy import of the module (pull request 104368), which optimizers
defeat.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import ModuleType
from typing import Any

import torch
from typing_extensions import override

NAME = "torch._dynamo"


def import_dynamo_late() -> None:
    """Stand in for ``torch._dynamo`` from now on, unless it is imported already."""
    if NAME in sys.modules:
        return
    spec = find_spec(NAME)
    if spec is None:  # a torch without it needs no stand-in
        return
    late = LateDynamo(spec)
    sys.modules[NAME] = late
    torch._dynamo = late
    sys.meta_path.insert(0, _Submodules(late))


class LateDynamo(ModuleType):
    """Stands in for ``torch._dynamo`` until it is needed.

    Args:
        spec: The real module's.
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(NAME)
        # ``inspect`` reads these of every module; a submodule's import reads the path.
        facts = {"__file__": spec.origin, "__loader__": spec.loader, "__package__": NAME}
        vars(self).update(facts, __spec__=spec, __path__=[])
        vars(self).update(graph_break=_no_graph_to_break, disable=self._disable)
        vars(self).update(_real=None, _lock=threading.RLock())

    def load(self) -> ModuleType:
        """Return the real module; import it first in place of this one."""
        with self._lock:
            if self._real is None:
                if sys.modules.get(NAME) is self:
                    del sys.modules[NAME]
                if vars(torch).get("_dynamo") is self:
                    delattr(torch, "_dynamo")
                real = importlib.import_module(NAME)
                marks = {"graph_break": real.graph_break, "disable": real.disable}
                vars(self).update(marks, __path__=real.__path__, _real=real)
            real_module: ModuleType = self._real
            return real_module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.load(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.load(), name, value)

    def _disable(self, fn: object = None, *rest: Any, **options: Any) -> Any:
        """Return a function that the compiler leaves alone, once there is one."""
        if not callable(fn) or isinstance(fn, type):
            return self.load().disable(fn, *rest, **options)
        disabled: list[Callable[..., Any]] = []

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._real is None:
                return fn(*args, **kwargs)
            if not disabled:
                disabled.append(self._real.disable(fn, *rest, **options))
            return disabled[0](*args, **kwargs)

        return call


def _no_graph_to_break(*_: object, **__: object) -> None:
    """End the graph that is being compiled: there is none."""


class _Submodules(MetaPathFinder, Loader):
    """Imports the real module before the first of its submodules, which it imports itself."""

    def __init__(self, late: LateDynamo) -> None:
        self._late = late

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.startswith(f"{NAME}.") and sys.modules.get(NAME) is self._late:
            return spec_from_loader(fullname, self)
        return None

    @override
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self._late.load()
        module = importlib.import_module(spec.name)
        spec.loader_state = module.__spec__
        return module

    @override
    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back; it is executed already."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state
