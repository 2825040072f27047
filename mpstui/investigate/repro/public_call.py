"""Finds the public torch call that runs an op, for readers who do not know aten's ops."""

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
"""Ops run by the function of the same name in ``torch``, with the same arguments."""

TENSOR = {
    *("add_", "sub_", "mul_", "div_", "addcmul_", "addcdiv_", "lerp_", "neg_", "exp_", "sqrt_"),
    *("sigmoid_", "tanh_", "zero_", "fill_", "copy_", "masked_fill_", "scatter_add_", "clamp_"),
    *("index_add_", "normal_", "uniform_", "bernoulli_", "exponential_", "geometric_", "random_"),
    *("log_normal_", "cauchy_"),
}
"""Ops run by the tensor method of the same name."""

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

_DEFAULTS = re.compile(
    r", (?:attn_mask=None|dropout_p=0\.0|is_causal=False|scale=None|approximate='none'"
    r"|ignore_index=-100)(?=[,)])"
)
"""Arguments with their default values, which calls omit."""

_TRANSPOSED = (
    "F.conv_transpose{n}d({input}, {weight}, {bias}, {stride}, {padding}, {output_padding}, "
    "{groups}, {dilation})"
)


def public_call(call: Call, code: Callable[[Any], str] | None = None) -> str:
    """Return the public call that runs an op; empty if none is known.

    Args:
        call: The op's call.
        code: Formats an argument as Python; None for the names in the op's schema.
    """
    _, packet, _ = call.op.split(".")
    arguments = call.function._schema.arguments
    values = dict(zip((argument.name for argument in arguments), call.args, strict=False))
    arguments_by_name = (
        {argument.name: argument.default_value for argument in arguments} | values | call.kwargs
    )
    texts = {name: (code or _formatter(name))(value) for name, value in arguments_by_name.items()}
    if packet in FUNCTIONS:
        if packet == "nll_loss_forward" and arguments_by_name["reduction"] != 1:
            return ""
        if packet in ("mse_loss", "binary_cross_entropy") and arguments_by_name["reduction"] != 1:
            return ""
        template = FUNCTIONS[packet]
        if packet == "convolution":
            template = _TRANSPOSED if arguments_by_name["transposed"] else template
            texts["n"] = str(len(arguments_by_name["stride"]))
        return _DEFAULTS.sub("", template.format(**texts))
    parts = [texts[name] for name in values]
    parts += [
        f"{name}={texts[name]}" for name in call.kwargs if name not in ("layout", "pin_memory")
    ]
    if packet in TORCH:
        return f"torch.{packet}({', '.join(parts)})"
    return f"{parts[0]}.{packet}({', '.join(parts[1:])})" if packet in TENSOR else ""


def _formatter(name: str) -> Callable[[Any], str]:
    def code(value: Any) -> str:
        if isinstance(value, Slot):
            return name
        if isinstance(value, (list, tuple)) and any(isinstance(item, Slot) for item in value):
            return f"[{name}[0], … {len(value):,} tensors]"
        if isinstance(value, Mapping):
            return "…"
        return f"torch.device('{value}')" if isinstance(value, torch.device) else repr(value)

    return code
