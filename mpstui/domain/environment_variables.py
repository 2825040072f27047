"""Environment variables that change how torch trains, each parsed as the library parses it.

The parsing of torch's own variables follows its source and was checked against the machine code of
``libtorch_cpu.dylib`` in the macOS wheels of torch 2.9.0 to 2.15.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"
HIGH = "PYTORCH_MPS_HIGH_WATERMARK_RATIO"
LOW = "PYTORCH_MPS_LOW_WATERMARK_RATIO"
FAST_MATH = "PYTORCH_MPS_FAST_MATH"


class Variable(NamedTuple):
    """A variable that has an effect while it is set to certain values."""

    name: str
    acts: Callable[[str], bool]
    """Whether a value has the effect."""
    effect: str
    source: str
    """The code or document that reads it."""
    alters: bool = True
    """Whether it affects results, timings or output; False if it only selects hardware."""


def c_number(text: str) -> float:
    """Parse a number as C's ``strtod`` does: the longest prefix that is a number, else 0.

    Torch parses the watermark ratios this way: an empty or malformed value is 0, *no limit*.
    """
    match = re.match(
        r"\s*[+-]?(?:0[xX][0-9a-fA-F]+|inf(?:inity)?|nan|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)",
        text,
        re.ASCII | re.IGNORECASE,
    )
    if match is None:
        return 0.0
    number = match[0].strip()
    return float(int(number, 16)) if "0x" in number.lower() else float(number)


def c_integer(text: str) -> int:
    """Parse an integer as C's ``strtol`` does with base 0, else 0."""
    match = re.match(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|\d+)", text, re.ASCII)
    if match is None:
        return 0
    sign, digits = match.groups()
    base = 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") else 10
    usable = re.match(r"[0-7]+", digits) if base == 8 else None  # "08" is 0 followed by junk
    return int(f"{sign}{usable[0] if usable else digits}", base)


def anything_but_zero(text: str) -> bool:
    """Mirror torch's ``get_env(name) != "0"``: an empty value counts as on."""
    return text != "0"


def set_at_all(text: str) -> bool:
    """Mirror torch's ``has_env(name)``: any value counts, even ``0``."""
    return True


def _exactly(value: str) -> Callable[[str], bool]:
    return lambda text: text == value


def _bits(text: str) -> bool:
    return c_integer(text) != 0


def _openmp_true(text: str) -> bool:
    # __kmp_str_match_true of LLVM's OpenMP: a prefix of these words, in upper or lower case.
    word = text.strip().lower()
    return word in ("1", ".true.", ".t.") or any(
        len(word) >= least_length and full.startswith(word)
        for full, least_length in (("true", 1), ("on", 2), ("yes", 1), ("enabled", 1))
    )


def _not_empty(text: str) -> bool:
    return text != ""


MPS_FALLBACK = Variable(
    FALLBACK,
    anything_but_zero,
    "ops that MPS lacks run on the CPU",
    "aten/src/ATen/mps/MPSFallback.mm, TORCH_LIBRARY_IMPL(_, MPS, m)",
)

EFFECTS = (
    Variable(
        FAST_MATH,
        anything_but_zero,
        "Metal kernels round more coarsely",
        "aten/src/ATen/native/mps/OperationUtils.mm, MetalShaderLibrary::compileLibrary",
    ),
    Variable(
        "PYTORCH_MPS_PREFER_METAL",
        set_at_all,
        "matrix products use Metal kernels instead of MPSGraph",
        "aten/src/ATen/native/mps/operations/LinearAlgebra.mm, use_metal_mm",
    ),
    Variable(
        "PYTORCH_MPS_DISABLE_PREFILL_ATTENTION",
        anything_but_zero,
        "attention uses its general kernel instead of the prefill kernel (torch 2.13 and later)",
        "aten/src/ATen/native/mps/operations/Attention.mm, _scaled_dot_product_attention_math_mps",
    ),
    Variable(
        "PYTORCH_MPS_METAL_VERSION",
        lambda text: text in ("3.1", "3.2", "4.0"),
        "shaders are compiled for that Metal version instead of the system's (torch 2.15)",
        "aten/src/ATen/mps/MPSDevice.mm, metal_language_version",
    ),
    Variable(
        "PYTORCH_DEBUG_MPS_ALLOCATOR",
        _bits,
        "the allocator writes a line for each block",
        "aten/src/ATen/mps/MPSAllocator.mm, init_allocator",
    ),
    Variable(
        "PYTORCH_MPS_LOG_PROFILE_INFO",
        _bits,
        "MPS's profiler logs ops, kernels and copies, which slows them down",
        "aten/src/ATen/mps/MPSProfiler.mm, MPSProfiler::MPSProfiler",
    ),
    Variable(
        "PYTORCH_MPS_TRACE_SIGNPOSTS",
        _bits,
        "MPS's profiler emits signposts for Instruments, which slows ops down",
        "aten/src/ATen/mps/MPSProfiler.mm, MPSProfiler::MPSProfiler",
    ),
    Variable(
        "CUDA_VISIBLE_DEVICES",
        set_at_all,
        "hides and renumbers NVIDIA GPUs",
        "CUDA C++ Programming Guide, CUDA Environment Variables",
        alters=False,
    ),
    Variable(
        "HIP_VISIBLE_DEVICES",
        set_at_all,
        "hides and renumbers AMD GPUs",
        "ROCm documentation, GPU isolation techniques",
        alters=False,
    ),
    Variable(
        "ROCR_VISIBLE_DEVICES",
        set_at_all,
        "hides and renumbers AMD GPUs",
        "ROCm documentation, GPU isolation techniques",
        alters=False,
    ),
    Variable(
        "ZE_AFFINITY_MASK",
        set_at_all,
        "hides and renumbers Intel GPUs",
        "oneAPI Level Zero specification, Environment Variables",
        alters=False,
    ),
    Variable(
        "CUDA_LAUNCH_BLOCKING",
        _bits,
        "the host waits for every kernel: timings differ from normal training",
        "CUDA C++ Programming Guide, CUDA Environment Variables",
    ),
    Variable(
        "PYTORCH_NVML_BASED_CUDA_CHECK",
        _exactly("1"),
        "CUDA is detected through NVML",
        "torch/cuda/__init__.py, _nvml_based_avail",
        alters=False,
    ),
    Variable(
        "NVIDIA_TF32_OVERRIDE",
        _exactly("0"),
        "NVIDIA's libraries never use TF32, whatever the program asks for",
        "cuBLAS documentation, Tensor Core usage; only 0 has a documented meaning",
    ),
    Variable(
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        _exactly("1"),
        "float32 matrix products allow TF32 by default",
        "aten/src/ATen/Context.h; c10::utils::check_env takes 0 and 1 only",
    ),
    Variable(
        "KMP_AFFINITY",
        _not_empty,
        "threads are pinned to cores",
        "LLVM OpenMP runtime, Environment Variables",
        alters=False,
    ),
    Variable(
        "KMP_DUPLICATE_LIB_OK",
        _openmp_true,
        "hides that two OpenMP runtimes are loaded; results can be wrong",
        "LLVM OpenMP runtime, kmp_settings.cpp",
    ),
)
"""Other variables that change training; the fallback, the watermarks and the thread counts have
their own checks."""

NUMBERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Thread counts."""

VARIABLES = (FALLBACK, HIGH, LOW, *(variable.name for variable in EFFECTS), *NUMBERS)
"""The variables that a snapshot of the environment includes; no other variable is read."""
