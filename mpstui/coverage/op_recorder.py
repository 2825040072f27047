"""Records the ops that a callable runs on the CPU, and looks up each one's support on MPS.

::

    with recording(table, {**dict(model.named_parameters()), "images": images}) as recorder:
        with recorder.phase("forward"):
            loss = objective(model, images)
    ops = recorder.ops()

A dispatch mode sees the ops below autograd. Composite ops run through their composite kernel, so
that the mode sees the ops that they call: a Mac uses the same kernel, since it is registered for
every device. (``torch.utils._python_dispatch``; aten/src/ATen/core/dispatch/README.md.)
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

from .limits import REFUSED_DTYPES, find_limit
from .op_support import DENSE, OpSupport, judge_support
from .placement import Placement
from .stand_ins import pretend_mps

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

NOT_OPENED = "composed of other ops in torch {}; the installed torch runs it as one op"


class OpRecorder(TorchDispatchMode):
    """A mode that records the ops with their support and calling lines; see :func:`recording`.

    Args:
        table: The table of the torch version to check.
        on_mps: The tensors that are on MPS from the start, by name.
    """

    def __init__(self, table: KernelTable, on_mps: Mapping[str, torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._table = table
        self._phase = "setup"
        self._recorded_calls = 0
        self._opened = ""
        """The composite op that is being opened."""
        self._uses: dict[tuple[str, Support, str, str], dict[tuple[str, str, str], int]] = {}
        self.placement = Placement(on_mps.values(), table.torch, self.refuse)
        for dtype in REFUSED_DTYPES:
            names = [name for name, value in on_mps.items() if value.dtype is getattr(torch, dtype)]
            if names:
                call_site = ("setup", "", ", ".join(names))
                reason = f"refuses {dtype}: MPS has no such dtype"
                self._uses["Tensor.to", Support.REFUSED, reason, ""] = {call_site: len(names)}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Assign the ops in this context to a phase: ``forward``, ``backward`` and so on."""
        before, self._phase = self._phase, name
        try:
            yield
        finally:
            self._phase = before

    def enter_phase(self, name: str) -> str:
        """Assign the ops from now on to a phase; returns the one before."""
        before, self._phase = self._phase, name
        return before

    def forget(self) -> None:
        """Forget the ops so far."""
        self._uses.clear()

    def refuse(self, op: str, reason: str) -> None:
        """Record a call that raises an error on MPS although no kernel is missing."""
        self._record_call(op, Support.REFUSED, reason)

    def ops(self) -> tuple[OpUse, ...]:
        """Return the recorded ops, in the order of their first call."""
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
        """Run an op; if it is on MPS, record or open it."""
        kwargs = kwargs or {}
        args = _wrap_numbers(func, args)
        inputs = tensors((args, kwargs))
        on_mps = any(map(self.placement.holds, inputs)) if inputs else self.placement.placing
        if not on_mps or func.namespace in _BOOKKEEPING:
            return func(*args, **kwargs)
        key, name = self._key(inputs, kwargs), func.name()
        judgement = judge_support(name, self._table, key, _transposed(func, args))
        if judgement.opens and name == self._opened:  # detach() calls itself: nothing more to open
            judgement = OpSupport(Support.NATIVE)
        if judgement.opens and torch._C._dispatch_has_kernel_for_dispatch_key(
            name, judgement.opens
        ):
            calls_before = self._recorded_calls
            result = self._open(func, judgement.opens, args, kwargs)
            if self._recorded_calls == calls_before:  # it calls no other op, like copy_()
                self._record_call(name, Support.NATIVE, "")
        else:
            result = func(*args, **kwargs)
            self._record_op(func, judgement, args, kwargs)
        written_on_cpu = {id(tensor) for tensor in inputs if not self.placement.holds(tensor)}
        self.placement.place(t for t in tensors(result) if id(t) not in written_on_cpu)
        if name == _PACK:
            self.placement.take([result[1]])
        return result

    def _open(self, func: Any, key: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a composite op through its composite kernel, so that the ops in it are recorded."""
        before, self._opened = self._opened, func.name()
        try:
            with self, self.placement.making(True):
                return func._op_dk(getattr(torch._C.DispatchKey, key), *args, **kwargs)
        finally:
            self._opened = before

    def _key(self, inputs: list[torch.Tensor], kwargs: dict[str, Any]) -> str:
        layouts = [tensor.layout for tensor in inputs] + [kwargs.get("layout")]
        if any(tensor.is_nested for tensor in inputs):
            return "NestedTensorMPS"
        if any(tensor.is_quantized for tensor in inputs):
            return "QuantizedMPS"
        return next((_LAYOUTS[layout] for layout in layouts if layout in _LAYOUTS), DENSE)

    def _record_op(
        self, func: Any, judgement: OpSupport, args: Any, kwargs: dict[str, Any]
    ) -> None:
        name, support, reason, macos = func.name(), judgement.support, judgement.reason, ""
        if judgement.opens:
            support, reason = Support.UNKNOWN, NOT_OPENED.format(self._table.torch)
        elif support is Support.NATIVE:
            facts = op_info(func)
            op = name.partition("::")[2]
            limit = find_limit(
                op, self._table.torch, lambda: {**facts.arguments_by_name(args), **kwargs}
            )
            if limit is not None:
                reason, macos = limit.reason, limit.macos
                support = Support.NATIVE if limit.macos else Support.REFUSED
        self._record_call(name, support, reason, macos)

    def _record_call(self, op: str, support: Support, reason: str, macos: str = "") -> None:
        self._recorded_calls += 1
        source, code = line_of(self._phase)
        uses = self._uses.setdefault((op, support, reason, macos), {})
        call_site = (self._phase, source, code)
        uses[call_site] = uses.get(call_site, 0) + 1


@contextmanager
def recording(table: KernelTable, on_mps: Mapping[str, torch.Tensor]) -> Iterator[OpRecorder]:
    """Record the ops that run in this context.

    Attention uses the math path and modules skip their fast paths for evaluation, as on MPS
    (aten/src/ATen/native/transformers/attention.cpp; torch/nn/modules/activation.py).

    Args:
        table: The table of the torch version to check.
        on_mps: The tensors that are on MPS, by name: parameters, buffers, the batch.
    """
    recorder = OpRecorder(table, on_mps)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        # Only in this mode does backward know its ops' forward lines.
        stack.enter_context(torch.autograd.set_detect_anomaly(True, check_nan=False))
        stack.enter_context(pretend_mps())
        stack.enter_context(recorder.placement)
        stack.enter_context(recorder)
        yield recorder


def _wrap_numbers(func: Any, args: Any) -> tuple[Any, ...]:
    """Convert numbers to tensors where the schema requires one: not every op accepts both."""
    declared = func._schema.arguments
    return tuple(
        torch.tensor(value)
        if isinstance(value, (bool, int, float, complex))
        and isinstance(declared[index].type, torch.TensorType)
        else value
        for index, value in enumerate(args)
    )


def _transposed(func: Any, args: Any) -> bool:
    """Return whether a convolution is transposed."""
    for index, argument in enumerate(func._schema.arguments[: len(args)]):
        if argument.name == "transposed":
            return bool(args[index])
    return False
