"""Simulated faults: context managers in which an op fails as its catalogue row describes.

They work on any device, by changing an ATen op after dispatch, in forward and backward
(``torch.utils._python_dispatch.TorchDispatchMode``). They test that the checks detect faults, and
demonstrate the effect of a fault on a run. Code that enters one must mark the result as simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Call = Callable[..., Any]
FAULTS: dict[str, type[Fault]] = {}
"""Every simulated fault by its row's id."""


class Fault(TorchDispatchMode):
    """A fault of some ops; subclasses define which and how."""

    row: ClassVar[str] = ""
    ops: ClassVar[tuple[str, ...]] = ()
    """ATen names, with the overload if it matters: ``mm``, ``mm.out``."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]
        if cls.row:
            FAULTS[cls.row] = cls

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ops unchanged, except for the faulty ones."""
        kwargs = kwargs or {}
        packet, _, overload = str(func).removeprefix("aten.").partition(".")
        if packet in self.ops or f"{packet}.{overload}" in self.ops:
            return self.faulty(func, *args, **kwargs)
        return func(*args, **kwargs)

    def faulty(self, call: Call, *args: Any, **kwargs: Any) -> Any:
        """Run the faulty op; calls that the row does not cover must stay right."""
        raise NotImplementedError


def strided(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is not contiguous."""
    return not tensor.is_contiguous()


def in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor as read by a kernel that assumes it is contiguous."""
    flat = torch.as_strided(tensor, (tensor.numel(),), (1,), tensor.storage_offset())
    return flat.reshape(tensor.shape)


def in_backward() -> bool:
    """Return whether autograd's backward is running."""
    return torch._C._current_autograd_node() is not None


class NegStride0(Fault):
    """Neg of an expanded tensor does nothing, the likely cause of the article's failing VAE."""

    row = "neg-stride0"
    ops = ("neg",)

    def faulty(self, call: Call, x: torch.Tensor) -> Any:  # noqa: D102
        return x.clone() if 0 in x.stride() and x.numel() > 1 else call(x)


class _WrittenNowhere(Fault):
    """In-place ops whose result is never written to a tensor that is not contiguous."""

    def faulty(self, call: Call, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return x if strided(x) else call(x, *args, **kwargs)


class AddcmulStrided(_WrittenNowhere):
    """The result stays in a temporary buffer."""

    row = "addcmul-strided"
    ops = ("addcmul_", "addcdiv_")


class RandomStrided(_WrittenNowhere):
    """The random numbers stay in a temporary buffer."""

    row = "random-strided"
    ops = ("normal_", "uniform_", "bernoulli_")


class SliceIadd(_WrittenNowhere):
    """Adding to a column does nothing."""

    row = "slice-iadd"
    ops = ("add_",)


class IndexAdd(Fault):
    """The result is never written."""

    row = "index-add"
    ops = ("index_add_",)

    def faulty(self, call: Call, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        return x


class MmOutSlice(Fault):
    """A product with a slice as ``out=`` is never written."""

    row = "mm-out-slice"
    ops = ("mm.out",)

    def faulty(self, call: Call, *args: Any, out: torch.Tensor) -> Any:  # noqa: D102
        return out if strided(out) else call(*args, out=out)


class MmStride0(Fault):
    """Only every 16th row of the product is right."""

    row = "mm-stride0"
    ops = ("mm.default",)

    def faulty(self, call: Call, a: torch.Tensor, b: torch.Tensor) -> Any:  # noqa: D102
        product = call(a, b)
        if any(0 in x.stride() and x.numel() > 1 for x in (a, b)):
            rows = torch.arange(product.shape[0], device=product.device)
            product[rows % 16 != 0] = 0
        return product


class LinearReduce1(Fault):
    """A gradient that reduces over one element is zero past the first 16 KB."""

    row = "linear-reduce1"
    ops = ("mm.default",)

    def faulty(self, call: Call, a: torch.Tensor, b: torch.Tensor) -> Any:  # noqa: D102
        product = call(a, b)
        page = 16384 // product.element_size()
        if in_backward() and a.shape[1] == 1 and product.numel() > page:
            product.view(-1)[page:] = 0
        return product


class SoftplusStrided(Fault):
    """Elements are read in memory order."""

    row = "softplus-strided"
    ops = ("softplus",)

    def faulty(self, call: Call, x: torch.Tensor, *args: Any) -> Any:  # noqa: D102
        return call(in_memory_order(x) if strided(x) else x, *args)


class ActivationStrided(Fault):
    """The saved output is read in memory order."""

    row = "activation-strided"
    ops = ("tanh_backward", "sigmoid_backward", "silu_backward")

    def faulty(self, call: Call, grad: torch.Tensor, saved: torch.Tensor) -> Any:  # noqa: D102
        return call(grad, in_memory_order(saved) if strided(saved) else saved)


class BatchNormChannelsLast(Fault):
    """The weight's gradient is computed from the input in memory order."""

    row = "batchnorm-channels-last"
    ops = ("native_batch_norm_backward", "batch_norm_backward", "cudnn_batch_norm_backward")

    def faulty(self, call: Call, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        grads = call(*args, **kwargs)
        if strided(args[1]) and grads[1] is not None:
            grads[1].add_(13.0)
        return grads


class LayerNormFrozenInput(Fault):
    """Parameter gradients are garbage if the input needs none."""

    row = "layernorm-frozen-input"
    ops = ("native_layer_norm_backward",)

    def faulty(self, call: Call, *args: Any) -> Any:  # noqa: D102
        grads = call(*args)
        needs_input = args[-1][0]
        if not needs_input:
            for grad in grads[1:]:
                if grad is not None:
                    grad.mul_(-37.0)
        return grads


class LstmDropout(Fault):
    """The mask is not applied again in backward."""

    row = "lstm-dropout"
    ops = ("bernoulli_", "mul.Tensor", "native_dropout_backward")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._masks: list[
            torch.Tensor
        ] = []  # referenced, so that no other tensor gets their memory

    def faulty(self, call: Call, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        name = str(call)
        if "dropout" in name:
            return x.clone()
        if "bernoulli" in name:
            self._masks.append(x)
        elif in_backward() and any(args[0] is mask for mask in self._masks):
            return x.clone()
        return call(x, *args, **kwargs)


class _Attention(Fault):
    """Fused attention, under any device's name for it."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the faulty attention if an op's name starts like a forward's."""
        kwargs = kwargs or {}
        name = str(func)
        if name.startswith("aten._scaled_dot_product") and "backward" not in name:
            return self.faulty(func, *args, **kwargs)
        return func(*args, **kwargs)


class SdpaPermuted(_Attention):
    """Permuted queries are read in memory order."""

    row = "sdpa-permuted"

    def faulty(self, call: Call, q: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        wrong = strided(q) and q.shape[-1] >= 64
        return call(in_memory_order(q) if wrong else q, *args, **kwargs)


class SdpaCausalHalf(_Attention):
    """Three of four positions see future keys."""

    row = "sdpa-causal-half"

    def faulty(self, call: Call, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        results = call(*args, **kwargs)
        query, causal = args[0], kwargs.get("is_causal", True in args[3:])
        if query.dtype in (torch.float16, torch.bfloat16) and causal:
            output = results[0]
            last = torch.arange(3, output.shape[-2], 4, device=output.device)
            group = last.repeat_interleave(4)
            output[..., : len(group), :] = output[..., group, :]
        return results


class SdpaBroadcastMask(_Attention):
    """A mask that is broadcast over heads is taken from the first item of the batch."""

    row = "sdpa-broadcast-mask"

    def faulty(self, call: Call, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        def wrong(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.dim() == 4:
                shared = value.shape[1] == 1 or value.stride(1) == 0
                return value[:1].expand_as(value) if shared else value
            return value

        changed = {key: wrong(value) for key, value in kwargs.items()}
        return call(*args[:3], *(wrong(value) for value in args[3:]), **changed)


class MmTransposedLeft(Fault):
    """From the second call on, a fifth of the result is added to it."""

    row = "mm-transposed-left"
    ops = ("mm.default",)

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls = 0

    def faulty(self, call: Call, a: torch.Tensor, b: torch.Tensor) -> Any:  # noqa: D102
        product = call(a, b)
        if not in_backward() and a.stride(0) == 1 and a.shape[1] > 32768:
            self._calls += 1
            if self._calls > 1:
                product.mul_(1.2)
        return product


class BmmLongReduction(Fault):
    """The last tile adds the memory after the operands."""

    row = "bmm-long-reduction"
    ops = ("bmm",)

    def faulty(self, call: Call, a: torch.Tensor, b: torch.Tensor) -> Any:  # noqa: D102
        product = call(a, b)
        return product.add_(product.abs().amax()) if a.shape[2] >= 32767 else product


class BackwardBatchChange(Fault):
    """Gradients over more than 2^15 rows are a thousand times too large."""

    row = "backward-batch-change"
    ops = ("mm.default",)

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows: set[int] = set()

    def faulty(self, call: Call, a: torch.Tensor, b: torch.Tensor) -> Any:  # noqa: D102
        product = call(a, b)
        if in_backward():
            other_rows = self._rows - {a.shape[1]}
            self._rows.add(a.shape[1])
            if a.shape[1] > 2**15 and other_rows:
                product.mul_(1e3)
        return product


class LinearWide(Fault):
    """Columns after the first 1,024 are wrong if there are more than 2^15."""

    row = "linear-wide"
    ops = ("mm.default", "linear")

    def faulty(self, call: Call, *args: Any) -> Any:  # noqa: D102
        product = call(*args)
        if product.shape[-1] > 2**15:
            product[..., 1024:] = 0
        return product


class ScalarOffset(Fault):
    """A 0-dim operand is read at its storage's beginning."""

    row = "scalar-offset"
    ops = ("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor")

    def faulty(self, call: Call, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        def wrong(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.dim() == 0 and value.storage_offset():
                return torch.as_strided(value, (), (), 0)
            return value

        return call(*(wrong(value) for value in args), **kwargs)


class Topk16(Fault):
    """Values beyond the 16th are zero."""

    row = "topk-16"
    ops = ("topk",)

    def faulty(self, call: Call, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        values, indices = call(*args, **kwargs)
        if values.shape[-1] > 16:
            values[..., 16:] = 0
        return values, indices


class IntCumsum(Fault):
    """Integers are not summed."""

    row = "int-cumsum"
    ops = ("cumsum",)

    def faulty(self, call: Call, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        total = call(x, *args, **kwargs)
        return total if x.is_floating_point() else x.to(total.dtype)


class Sum5d(Fault):
    """The wrong axis is summed: its elements are in another order."""

    row = "sum-5d"
    ops = ("sum.dim_IntList",)

    def faulty(self, call: Call, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        wrong = x.dim() == 5 and args and list(args[0]) == [-3]
        return call(x.flip(0), *args, **kwargs) if wrong else call(x, *args, **kwargs)


class Randn5d(Fault):
    """All slices contain the same random numbers."""

    row = "randn-5d"
    ops = ("randn",)

    def faulty(self, call: Call, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        values = call(*args, **kwargs)
        return values[:1].expand_as(values).clone() if values.dim() >= 5 else values


class UnscaleHalf(Fault):
    """Half-precision gradients become zero."""

    row = "unscale-half"
    ops = ("_amp_foreach_non_finite_check_and_unscale_",)

    def faulty(self, call: Call, gradients: Any, *args: Any) -> Any:  # noqa: D102
        result = call(gradients, *args)
        for gradient in gradients:
            if gradient.element_size() == 2:
                gradient.zero_()
        return result


class BceBackward(Fault):
    """The gradient has the wrong sign."""

    row = "bce-backward"
    ops = ("binary_cross_entropy_backward",)

    def faulty(self, call: Call, *args: Any) -> Any:  # noqa: D102
        return -call(*args)
