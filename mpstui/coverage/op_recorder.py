"""Record the ops that a callable runs, and judge each for MPS, on the CPU.

::

    with recording(table, {**dict(model.named_parameters()), "images": images}) as recorder:
        with recorder.phase("forward"):
            loss = objective(model, images)
    ops = recorder.ops()

A dispatch mode sees the ops below autograd. Composite ones are run by the kernel that makes them of
others, so that those are seen: on a Mac it is the same kernel, since it is registered for every
device. (``torch.utils._python_dispatch``; aten/src/ATen/core/dispatch/README.md.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from mpstui.domain.coverage import CallSite, OpUse, Support
from mpstui.kernel_tables.tables import KernelTable
from mpstui.modes.attribution import line_of
from mpstui.ops.schema import op_info, tensors

from .limits import REFUSED_DTYPES, limit_of
from .op_support import DENSE, OpSupport, judge_support
from .placement import Placement
from .stand_ins import as_on_mps

_LAYOUTS = {
    torch.sparse_coo: "SparseMPS",
    torch.sparse_csr: "SparseCsrMPS",
    torch.sparse_csc: "SparseCsrMPS",
    torch.sparse_bsr: "SparseCsrMPS",
    torch.sparse_bsc: "SparseCsrMPS",
}

_BOOKKEEPING = ("profiler", "prim")
"""Namespaces of ops that compute nothing."""

_PACK = "aten::_pack_padded_sequence"
"""Its second result, the batch sizes, is on the CPU (aten/src/ATen/native/PackedSequence.cpp)."""

NOT_OPENED = "made of other ops in torch {}; the torch that is installed runs it as one"


class OpRecorder(TorchDispatchMode):
    """Judges the ops that run under it, with the lines that call them. Made by :func:`recording`.

    Args:
        table: Of the version that is asked about.
        on_mps: The tensors that are on MPS from the start, by name.
    """

    def __init__(self, table: KernelTable, on_mps: Mapping[str, torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._table = table
        self._phase = "setup"
        self._noted = 0
        self._opened = ""
        """The composite op that is being opened."""
        self._uses: dict[tuple[str, Support, str, str], dict[tuple[str, str, str], int]] = {}
        self.placement = Placement(on_mps.values(), table.torch, self.refuse)
        for dtype in REFUSED_DTYPES:
            names = [name for name, value in on_mps.items() if value.dtype is getattr(torch, dtype)]
            if names:
                place = ("setup", "", ", ".join(names))
                reason = f"refuses {dtype}: MPS has no such dtype"
                self._uses["Tensor.to", Support.REFUSED, reason, ""] = {place: len(names)}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What runs within it belongs to a phase: ``forward``, ``backward`` and so on."""
        before, self._phase = self._phase, name
        try:
            yield
        finally:
            self._phase = before

    def refuse(self, op: str, reason: str) -> None:
        """Note a call that raises an error on MPS although no kernel is missing."""
        self._note(op, Support.REFUSED, reason)

    def ops(self) -> tuple[OpUse, ...]:
        """What was recorded, in the order of the first call."""
        return tuple(
            OpUse(
                op=op,
                support=support,
                reason=reason,
                macos=macos,
                uses=tuple(
                    CallSite(phase=phase, count=count, source=source, code=code)
                    for (phase, source, code), count in uses.items()
                ),
            )
            for (op, support, reason, macos), uses in self._uses.items()
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an op, judged or opened where it is on MPS."""
        kwargs = kwargs or {}
        args = _wrapped(func, args)
        here = tensors((args, kwargs))
        on_mps = any(map(self.placement.holds, here)) if here else self.placement.placing
        if not on_mps or func.namespace in _BOOKKEEPING:
            return func(*args, **kwargs)
        key, name = self._key(here, kwargs), func.name()
        judged = judge_support(name, self._table, key, _transposed(func, args))
        if judged.opens and name == self._opened:  # detach() calls itself: there is no more in it
            judged = OpSupport(Support.NATIVE)
        if judged.opens and torch._C._dispatch_has_kernel_for_dispatch_key(name, judged.opens):
            noted = self._noted
            out = self._open(func, judged.opens, args, kwargs)
            if self._noted == noted:  # it is made of no other op, as copy_() is
                self._note(name, Support.NATIVE, "")
        else:
            out = func(*args, **kwargs)
            self._judged(func, judged, args, kwargs)
        written_on_cpu = {id(tensor) for tensor in here if not self.placement.holds(tensor)}
        self.placement.place(t for t in tensors(out) if id(t) not in written_on_cpu)
        if name == _PACK:
            self.placement.take([out[1]])
        return out

    def _open(self, func: Any, key: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a composite op by the kernel that makes it of others, which are then seen."""
        before, self._opened = self._opened, func.name()
        try:
            with self, self.placement.making(True):
                return func._op_dk(getattr(torch._C.DispatchKey, key), *args, **kwargs)
        finally:
            self._opened = before

    def _key(self, here: list[torch.Tensor], kwargs: dict[str, Any]) -> str:
        layouts = [tensor.layout for tensor in here] + [kwargs.get("layout")]
        if any(tensor.is_nested for tensor in here):
            return "NestedTensorMPS"
        if any(tensor.is_quantized for tensor in here):
            return "QuantizedMPS"
        return next((_LAYOUTS[layout] for layout in layouts if layout in _LAYOUTS), DENSE)

    def _judged(self, func: Any, judged: OpSupport, args: Any, kwargs: dict[str, Any]) -> None:
        name, support, reason, macos = func.name(), judged.support, judged.reason, ""
        if judged.opens:
            support, reason = Support.UNKNOWN, NOT_OPENED.format(self._table.torch)
        elif support is Support.NATIVE:
            facts = op_info(func)
            op = name.partition("::")[2]
            limit = limit_of(op, self._table.torch, lambda: {**facts.named(args), **kwargs})
            if limit is not None:
                reason, macos = limit.reason, limit.macos
                support = Support.NATIVE if limit.macos else Support.REFUSED
        self._note(name, support, reason, macos)

    def _note(self, op: str, support: Support, reason: str, macos: str = "") -> None:
        self._noted += 1
        source, code = line_of(self._phase)
        uses = self._uses.setdefault((op, support, reason, macos), {})
        place = (self._phase, source, code)
        uses[place] = uses.get(place, 0) + 1


@contextmanager
def recording(table: KernelTable, on_mps: Mapping[str, torch.Tensor]) -> Iterator[OpRecorder]:
    """Record the ops that run within it.

    Attention takes the math path and modules leave their fast paths for evaluation, as on MPS
    (aten/src/ATen/native/transformers/attention.cpp; torch/nn/modules/activation.py).

    Args:
        table: Of the version that is asked about.
        on_mps: The tensors that lie on MPS, by name: parameters, buffers, the batch.
    """
    recorder = OpRecorder(table, on_mps)
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        # Backward knows the lines of its ops in this mode alone.
        stack.enter_context(torch.autograd.set_detect_anomaly(True, check_nan=False))
        stack.enter_context(as_on_mps())
        stack.enter_context(recorder.placement)
        stack.enter_context(recorder)
        yield recorder


def _wrapped(func: Any, args: Any) -> tuple[Any, ...]:
    """Arguments with a number made a tensor where the schema has one: not every op takes both."""
    declared = func._schema.arguments
    return tuple(
        torch.tensor(value)
        if isinstance(value, (bool, int, float, complex))
        and isinstance(declared[place].type, torch.TensorType)
        else value
        for place, value in enumerate(args)
    )


def _transposed(func: Any, args: Any) -> bool:
    """Whether a convolution is a transposed one."""
    for place, argument in enumerate(func._schema.arguments[: len(args)]):
        if argument.name == "transposed":
            return bool(args[place])
    return False
