"""The call of torch's public interface that runs an op, for readers who do not think in aten."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mpstui.ops.call import Call, Slot

TORCH = {
    *("neg", "exp", "log", "log1p", "sqrt", "rsqrt", "abs", "sin", "cos", "erf", "tanh", "sigmoid"),
    *("relu", "reciprocal", "floor", "round", "sign", "mm", "bmm", "addmm", "baddbmm"),
    *("add", "sub", "mul", "div", "pow", "addcmul", "addcdiv", "lerp", "maximum", "minimum"),
    *("sum", "mean", "amax", "amin", "argmax", "argmin", "cumsum", "cumprod", "logsumexp"),
    *("var", "std", "sort", "topk", "gather", "scatter_add", "index_add", "index_select", "where"),
    *("cat", "stack", "clamp", "masked_fill", "tril", "triu", "flip", "roll"),
    *("bernoulli", "multinomial", "poisson", "normal", "native_dropout", "rand_like", "randn_like"),
}
"""Ops that the function of the same name in ``torch`` runs, with the same arguments."""

TENSOR = {
    *("add_", "sub_", "mul_", "div_", "addcmul_", "addcdiv_", "lerp_", "neg_", "exp_", "sqrt_"),
    *("sigmoid_", "tanh_", "zero_", "fill_", "copy_", "masked_fill_", "scatter_add_", "clamp_"),
    *("index_add_", "normal_", "uniform_", "bernoulli_", "exponential_", "geometric_", "random_"),
    *("log_normal_", "cauchy_"),
}
"""Ops that the method of the same name runs."""

FUNCTIONS: dict[str, str] = {
    "silu": "F.silu({self})",
    "gelu": "F.gelu({self}, approximate={approximate})",
    "softplus": "F.softplus({self}, {beta}, {threshold})",
    "elu": "F.elu({self}, {alpha})",
    "leaky_relu": "F.leaky_relu({self}, {negative_slope})",
    "hardtanh": "F.hardtanh({self}, {min_val}, {max_val})",
    "_softmax": "F.softmax({self}, {dim})",
    "_log_softmax": "F.log_softmax({self}, {dim})",
    "native_layer_norm": "F.layer_norm({input}, {normalized_shape}, {weight}, {bias}, {eps})",
    "native_group_norm": "F.group_norm({input}, {group}, {weight}, {bias}, {eps})",
    "native_batch_norm": "F.batch_norm({input}, {running_mean}, {running_var}, {weight}, {bias}, "
    "{training}, {momentum}, {eps})",
    "embedding": "F.embedding({indices}, {weight})",
    "nll_loss_forward": "F.nll_loss({self}, {target}, {weight}, ignore_index={ignore_index})",
    "mse_loss": "F.mse_loss({self}, {target})",
    "binary_cross_entropy": "F.binary_cross_entropy({self}, {target}, {weight})",
    "max_pool2d_with_indices": "F.max_pool2d({self}, {kernel_size}, {stride}, {padding}, "
    "{dilation}, {ceil_mode})",
    "avg_pool2d": "F.avg_pool2d({self}, {kernel_size}, {stride}, {padding}, {ceil_mode}, "
    "{count_include_pad})",
    "reflection_pad2d": "F.pad({self}, {padding}, mode='reflect')",
    "upsample_bilinear2d": "F.interpolate({self}, {output_size}, mode='bilinear', "
    "align_corners={align_corners})",
    "_scaled_dot_product_flash_attention_for_cpu": "F.scaled_dot_product_attention({query}, {key}, "
    "{value}, attn_mask={attn_mask}, dropout_p={dropout_p}, is_causal={is_causal}, scale={scale})",
    "_scaled_dot_product_attention_math_for_mps": "F.scaled_dot_product_attention({query}, {key}, "
    "{value}, attn_mask={attn_mask}, dropout_p={dropout_p}, is_causal={is_causal}, scale={scale})",
    "convolution": "F.conv{n}d({input}, {weight}, {bias}, {stride}, {padding}, {dilation}, "
    "{groups})",
}
"""Ops with other arguments than the public function that runs them; ``F`` is
``torch.nn.functional``."""

_USUAL = re.compile(
    r", (?:attn_mask=None|dropout_p=0\.0|is_causal=False|scale=None|approximate='none'"
    r"|ignore_index=-100)(?=[,)])"
)
"""Arguments with their defaults, which nobody writes."""

_TRANSPOSED = (
    "F.conv_transpose{n}d({input}, {weight}, {bias}, {stride}, {padding}, {output_padding}, "
    "{groups}, {dilation})"
)


def public_call(call: Call, code: Callable[[Any], str] | None = None) -> str:
    """The public call that runs an op; empty where none is known to.

    Args:
        call: The op's call.
        code: Python for an argument; None names tensors as the op's schema does.
    """
    _, packet, _ = call.op.split(".")
    arguments = call.function._schema.arguments
    values = dict(zip((each.name for each in arguments), call.args, strict=False))
    named = {each.name: each.default_value for each in arguments} | values | call.kwargs
    shown = {name: (code or _named(name))(value) for name, value in named.items()}
    if packet in FUNCTIONS:
        if packet == "nll_loss_forward" and named["reduction"] != 1:
            return ""
        if packet in ("mse_loss", "binary_cross_entropy") and named["reduction"] != 1:
            return ""
        template = FUNCTIONS[packet]
        if packet == "convolution":
            template = _TRANSPOSED if named["transposed"] else template
            shown["n"] = str(len(named["stride"]))
        return _USUAL.sub("", template.format(**shown))
    words = [shown[name] for name in values]
    words += [
        f"{name}={shown[name]}" for name in call.kwargs if name not in ("layout", "pin_memory")
    ]
    if packet in TORCH:
        return f"torch.{packet}({', '.join(words)})"
    return f"{words[0]}.{packet}({', '.join(words[1:])})" if packet in TENSOR else ""


def _named(name: str) -> Callable[[Any], str]:
    def code(value: Any) -> str:
        if isinstance(value, Slot):
            return name
        if isinstance(value, (list, tuple)) and any(isinstance(each, Slot) for each in value):
            return f"[{name}[0], … {len(value):,} tensors]"
        if isinstance(value, Mapping):
            return "…"
        return f"torch.device('{value}')" if isinstance(value, torch.device) else repr(value)

    return code
